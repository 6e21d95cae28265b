CREATE OR REPLACE VIEW intent_analytics WITH (security_invoker = true) AS
SELECT
    i.intent_type,
    count(*) AS occurrence_count,
    round(avg(i.intent_confidence), 4) AS avg_confidence,
    count(DISTINCT i.conversation_id) AS unique_conversations,
    date_trunc('day', i.detected_at, 'UTC') AS detection_date
FROM conversation_intents AS i
GROUP BY i.intent_type, date_trunc('day', i.detected_at, 'UTC');

COMMENT ON VIEW intent_analytics IS
    'What customers wanted on each day (UTC): how often, in how many conversations, and how sure the detection was';
