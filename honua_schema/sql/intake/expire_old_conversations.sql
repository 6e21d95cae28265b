CREATE OR REPLACE FUNCTION expire_old_conversations(
    p_inactive_hours integer DEFAULT 24,
    p_limit integer DEFAULT NULL
) RETURNS TABLE (
    conversation_id uuid,
    customer_email varchar,
    abandoned_at timestamptz
)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
DECLARE
    v_before timestamptz;
BEGIN
    IF p_inactive_hours IS NULL OR p_inactive_hours NOT BETWEEN 1 AND 876000 THEN
        RAISE EXCEPTION 'p_inactive_hours must be between 1 and 876000, not %', coalesce(p_inactive_hours::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value',
                HINT = 'Give for how many hours a conversation may be silent.';
    END IF;
    IF p_limit < 1 THEN
        RAISE EXCEPTION 'p_limit must be at least 1 or NULL, not %', p_limit
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Give the number of conversations to abandon at most.';
    END IF;
    v_before := now() - p_inactive_hours * INTERVAL '1 hour';

    -- A locked conversation is getting a message at this moment. FOR UPDATE, since a message's foreign key lets
    -- weaker locks pass.
    RETURN QUERY
    WITH silent AS MATERIALIZED (
        SELECT c.id
        FROM conversations AS c
        WHERE c.status = 'active'
          AND c.started_at <= v_before
          AND coalesce(c.last_message_at, c.started_at) <= v_before
        ORDER BY c.id
        LIMIT p_limit
        FOR UPDATE SKIP LOCKED
    )
    UPDATE conversations AS c
    SET status = 'abandoned', abandoned_at = now()
    FROM silent AS s
    WHERE c.id = s.id
    RETURNING c.id, c.customer_email, c.abandoned_at;
END;
$$;

COMMENT ON FUNCTION expire_old_conversations IS
    'Sets active conversations without a message for p_inactive_hours to abandoned, and returns them; one without '
    'messages counts from started_at. Errors: 22023 when the hours are NULL or not between 1 and 876000, or the '
    'limit is less than 1.';
