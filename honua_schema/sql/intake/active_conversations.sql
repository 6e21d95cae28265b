CREATE OR REPLACE VIEW active_conversations WITH (security_invoker = true) AS
SELECT
    c.id,
    c.customer_id,
    c.customer_email,
    c.status,
    c.conversation_type,
    c.total_messages,
    c.started_at,
    c.last_message_at,
    -- One time far from now must not take the view from everybody.
    floor(
        greatest(
            least(
                extract(epoch FROM now()) - extract(epoch FROM coalesce(c.last_message_at, c.started_at)), 2147483647
            ),
            -2147483648
        )
    )::integer AS seconds_since_last_message,
    c.ai_model,
    c.build_manifest_id,
    m.deployment_status AS manifest_deployment_status
FROM conversations AS c
LEFT JOIN build_manifests AS m ON m.id = c.build_manifest_id
WHERE c.status = 'active';

COMMENT ON VIEW active_conversations IS
    'Conversations that go on, how long they have been silent (one without messages since its start), and what '
    'became of their manifest';
