CREATE OR REPLACE FUNCTION release_delayed_builds(p_limit integer DEFAULT 100) RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = public, pg_temp
AS $$
DECLARE
    v_build record;
    v_released integer := 0;
BEGIN
    IF p_limit IS NULL OR p_limit < 1 THEN
        RAISE EXCEPTION 'p_limit must be at least 1, not %', coalesce(p_limit::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Give the number of builds to release at most.';
    END IF;
    -- Licences are locked in order of the customers, so that two workers that release builds do not deadlock.
    FOR v_build IN
        SELECT due.id, due.customer_id, due.priority, due.queued_at
        FROM (
            SELECT b.id, b.customer_id, b.priority, b.queued_at
            FROM build_queue AS b
            WHERE b.status = 'queued' AND b.admission = 'delayed' AND b.queued_at <= clock_timestamp()
            ORDER BY b.queued_at
            LIMIT p_limit
            FOR UPDATE SKIP LOCKED
        ) AS due
        ORDER BY due.customer_id, due.priority DESC, due.queued_at
    LOOP
        UPDATE build_queue AS b
        SET admission = admission_of_build(v_build.customer_id, v_build.priority, v_build.queued_at),
            updated_at = clock_timestamp()
        WHERE b.id = v_build.id;
        v_released := v_released + 1;
    END LOOP;
    RETURN v_released;
END;
$$;

COMMENT ON FUNCTION release_delayed_builds IS
    'Lets delayed builds that have become due into the queue, at most p_limit of them, and returns how many. '
    'Every claim calls it when there are any. Errors: 22023 when p_limit is NULL or less than 1.';
