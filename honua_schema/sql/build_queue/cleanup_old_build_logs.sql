CREATE OR REPLACE FUNCTION cleanup_old_build_logs(
    p_retention_days integer DEFAULT 90,
    p_limit integer DEFAULT NULL
) RETURNS TABLE (deleted_count bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
BEGIN
    IF p_retention_days IS NULL OR p_retention_days NOT BETWEEN 1 AND 36500 THEN
        RAISE EXCEPTION 'p_retention_days must be between 1 and 36500, not %', coalesce(p_retention_days::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Give for how many days logs are kept.';
    END IF;
    IF p_limit < 1 THEN
        RAISE EXCEPTION 'p_limit must be at least 1 or NULL, not %', p_limit
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Give the number of logs to empty at most.';
    END IF;

    RETURN QUERY
    WITH emptied AS (
        UPDATE build_results AS r
        SET stdout_log = NULL, stderr_log = NULL, logs_truncated_at = clock_timestamp()
        WHERE r.id = ANY (ARRAY(
            SELECT old.id
            FROM build_results AS old
            WHERE old.created_at < now() - p_retention_days * INTERVAL '24 hours'
              AND old.logs_truncated_at IS NULL
              AND (old.stdout_log IS NOT NULL OR old.stderr_log IS NOT NULL)
            ORDER BY old.created_at
            LIMIT p_limit
            FOR NO KEY UPDATE SKIP LOCKED
        ))
        RETURNING 1
    )
    SELECT count(*) FROM emptied;
END;
$$;

COMMENT ON FUNCTION cleanup_old_build_logs IS
    'Empties the logs of builds that ended more than p_retention_days ago, at most p_limit of them, and returns '
    'how many results that were. Each is emptied once; the cost grows with those alone. Errors: 22023 when the '
    'days are NULL or not between 1 and 36500, or the limit is less than 1.';
