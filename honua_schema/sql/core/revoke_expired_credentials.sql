CREATE OR REPLACE FUNCTION revoke_expired_credentials(
    p_invalid_days integer DEFAULT 7,
    p_limit integer DEFAULT NULL
) RETURNS TABLE (
    credential_id uuid,
    customer_id varchar,
    registry_name varchar,
    revoked_at timestamptz
)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
DECLARE
    v_before timestamptz;
BEGIN
    IF p_invalid_days IS NULL OR p_invalid_days NOT BETWEEN 1 AND 36500 THEN
        RAISE EXCEPTION 'p_invalid_days must be between 1 and 36500, not %', coalesce(p_invalid_days::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value',
                HINT = 'Give for how many days an invalid credential is kept.';
    END IF;
    IF p_limit < 1 THEN
        RAISE EXCEPTION 'p_limit must be at least 1 or NULL, not %', p_limit
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Give the number of credentials to revoke at most.';
    END IF;
    v_before := now() - p_invalid_days * INTERVAL '24 hours';

    -- A credential that somebody has locked is being changed, perhaps mended; the next run sees to it.
    RETURN QUERY
    WITH due AS MATERIALIZED (
        SELECT r.id
        FROM registry_credentials AS r
        WHERE r.validation_status = 'invalid'
          AND r.revoked_at IS NULL
          AND (r.last_validated_at <= v_before OR (r.last_validated_at IS NULL AND r.updated_at <= v_before))
        ORDER BY r.id
        LIMIT p_limit
        FOR NO KEY UPDATE SKIP LOCKED
    )
    UPDATE registry_credentials AS r
    SET revoked_at = now(), is_active = false
    FROM due AS d
    WHERE r.id = d.id
    RETURNING r.id, r.customer_id, r.registry_name, r.revoked_at;
END;
$$;

COMMENT ON FUNCTION revoke_expired_credentials IS
    'Revokes registry credentials whose last login failed p_invalid_days times 24 hours ago or earlier, and returns '
    'them; one without a time of login counts from its last change. Errors: 22023 when the days are NULL or not '
    'between 1 and 36500, or the limit is less than 1.';
