CREATE OR REPLACE TRIGGER conversation_messages_take_customer
    BEFORE INSERT OR UPDATE OF conversation_id, customer_id ON conversation_messages
    FOR EACH ROW EXECUTE FUNCTION take_conversation_customer();

COMMENT ON TRIGGER conversation_messages_take_customer ON conversation_messages IS
    'A message belongs to the customer of its conversation, whatever the caller says';
