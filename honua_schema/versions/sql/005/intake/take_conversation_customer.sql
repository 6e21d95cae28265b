CREATE OR REPLACE FUNCTION take_conversation_customer() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
BEGIN
    NEW.customer_id := (SELECT c.customer_id FROM conversations AS c WHERE c.id = NEW.conversation_id);
    RETURN NEW;
END;
$$;

COMMENT ON FUNCTION take_conversation_customer IS
    'Gives a message the customer of its conversation, whatever the caller says. It stands there too so that row '
    'security need not look up the conversation of each message that is read.';
