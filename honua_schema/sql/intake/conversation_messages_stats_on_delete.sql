CREATE OR REPLACE TRIGGER conversation_messages_stats_on_delete
    AFTER DELETE ON conversation_messages
    REFERENCING OLD TABLE AS old_messages
    FOR EACH STATEMENT EXECUTE FUNCTION update_conversation_stats();

COMMENT ON TRIGGER conversation_messages_stats_on_delete ON conversation_messages IS
    'Counters of the conversations, kept once per statement';
