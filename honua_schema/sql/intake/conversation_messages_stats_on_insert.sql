CREATE OR REPLACE TRIGGER conversation_messages_stats_on_insert
    AFTER INSERT ON conversation_messages
    REFERENCING NEW TABLE AS new_messages
    FOR EACH STATEMENT EXECUTE FUNCTION update_conversation_stats();

COMMENT ON TRIGGER conversation_messages_stats_on_insert ON conversation_messages IS
    'Counters of the conversations, kept once per statement';
