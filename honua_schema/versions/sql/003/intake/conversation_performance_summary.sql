CREATE OR REPLACE VIEW conversation_performance_summary WITH (security_invoker = true) AS
SELECT
    (c.started_at AT TIME ZONE 'UTC')::date AS conversation_date,
    c.conversation_type,
    c.ai_model,
    count(*) AS total_conversations,
    count(*) FILTER (WHERE c.status = 'completed') AS completed_conversations,
    count(*) FILTER (WHERE c.status = 'abandoned') AS abandoned_conversations,
    round(avg(c.total_messages), 2) AS avg_messages_per_conversation,
    round(avg(c.total_tokens_used), 2) AS avg_tokens_per_conversation,
    round(avg(c.total_cost_usd), 6) AS avg_cost_per_conversation,
    round(
        -- Times that were never reached would make all others count for nothing.
        avg(extract(epoch FROM c.completed_at) - extract(epoch FROM c.started_at))
            FILTER (WHERE isfinite(c.completed_at) AND isfinite(c.started_at)) / 60,
        2
    ) AS avg_duration_minutes,
    round(avg(c.user_satisfaction_score), 2) AS avg_satisfaction_score,
    count(c.build_manifest_id) AS manifests_generated
FROM conversations AS c
GROUP BY (c.started_at AT TIME ZONE 'UTC')::date, c.conversation_type, c.ai_model;

COMMENT ON VIEW conversation_performance_summary IS
    'Conversations that began on each day (UTC), by type and model: how they ended, what they cost, how they were '
    'liked. The duration is of those that were completed, the score of those that were given one: NULL when none was';
