CREATE OR REPLACE FUNCTION update_conversation_stats() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
DECLARE
    v_changes refcursor;
    v_change record;
    v_customer_id varchar;
BEGIN
    -- In order of id, so that two statements with several conversations each can't deadlock.
    CASE TG_OP
        WHEN 'INSERT' THEN
            OPEN v_changes FOR
            SELECT
                m.conversation_id,
                count(*)::integer AS messages,
                sum(coalesce(m.total_tokens, coalesce(m.prompt_tokens, 0)::bigint + coalesce(m.completion_tokens, 0)))
                    AS tokens,
                max(m.created_at) AS last_message_at,
                array_agg(DISTINCT m.customer_id) AS customers
            FROM new_messages AS m
            GROUP BY m.conversation_id
            ORDER BY m.conversation_id;
        WHEN 'DELETE' THEN
            OPEN v_changes FOR
            SELECT
                m.conversation_id,
                -count(*)::integer AS messages,
                -sum(coalesce(m.total_tokens, coalesce(m.prompt_tokens, 0)::bigint + coalesce(m.completion_tokens, 0)))
                    AS tokens,
                NULL::timestamptz AS last_message_at,
                NULL::varchar[] AS customers
            FROM old_messages AS m
            GROUP BY m.conversation_id
            ORDER BY m.conversation_id;
        ELSE
            OPEN v_changes FOR
            SELECT
                c.conversation_id,
                sum(c.messages)::integer AS messages,
                sum(c.tokens) AS tokens,
                max(c.created_at) AS last_message_at,
                array_agg(DISTINCT c.customer_id) FILTER (WHERE c.messages > 0) AS customers
            FROM (
                SELECT
                    m.conversation_id,
                    1 AS messages,
                    coalesce(m.total_tokens, coalesce(m.prompt_tokens, 0)::bigint + coalesce(m.completion_tokens, 0))
                        AS tokens,
                    m.created_at,
                    m.customer_id
                FROM new_messages AS m
                UNION ALL
                SELECT
                    m.conversation_id,
                    -1,
                    -coalesce(m.total_tokens, coalesce(m.prompt_tokens, 0)::bigint + coalesce(m.completion_tokens, 0)),
                    m.created_at,
                    NULL
                FROM old_messages AS m
            ) AS c
            GROUP BY c.conversation_id
            HAVING sum(c.messages) <> 0
                OR sum(c.tokens) <> 0
                OR max(c.created_at) > max(c.created_at) FILTER (WHERE c.messages < 0)
            ORDER BY c.conversation_id;
    END CASE;

    LOOP
        FETCH v_changes INTO v_change;
        EXIT WHEN NOT FOUND;
        UPDATE conversations AS c
        SET total_messages = c.total_messages + v_change.messages,
            total_tokens_used = c.total_tokens_used + v_change.tokens,
            last_message_at = greatest(c.last_message_at, v_change.last_message_at)
        WHERE c.id = v_change.conversation_id
        RETURNING c.customer_id INTO v_customer_id;
        -- Who changed the conversation's customer while the messages were written did not see them.
        IF v_change.customers <> ARRAY[v_customer_id] THEN
            UPDATE conversation_messages AS m
            SET customer_id = v_customer_id
            WHERE m.conversation_id = v_change.conversation_id AND m.customer_id IS DISTINCT FROM v_customer_id;
        END IF;
    END LOOP;
    CLOSE v_changes;
    RETURN NULL;
END;
$$;

COMMENT ON FUNCTION update_conversation_stats IS
    'Keeps total_messages, total_tokens_used and last_message_at of conversations when messages come, change or go: '
    'exact under concurrency and for batches; last_message_at stays when the last message goes. A message''s tokens are '
    'total_tokens, else prompt and completion tokens.';
