CREATE OR REPLACE TRIGGER conversations_change_customer
    AFTER UPDATE OF customer_id ON conversations
    FOR EACH ROW
    WHEN (OLD.customer_id IS DISTINCT FROM NEW.customer_id)
    EXECUTE FUNCTION change_conversation_customer();

COMMENT ON TRIGGER conversations_change_customer ON conversations IS
    'The messages of a conversation go with it when its customer becomes known, or another';
