CREATE OR REPLACE FUNCTION change_conversation_customer() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
BEGIN
    UPDATE conversation_messages AS m SET customer_id = NEW.customer_id WHERE m.conversation_id = NEW.id;
    RETURN NULL;
END;
$$;

COMMENT ON FUNCTION change_conversation_customer IS
    'Gives the messages of a conversation its customer, once one is known, and when it changes.';
