CREATE OR REPLACE FUNCTION release_delayed_builds(p_limit integer DEFAULT 100) RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    v_customers varchar[];
    v_customer_id varchar;
    v_released integer;
BEGIN
    IF p_limit IS NULL OR p_limit < 1 THEN
        RAISE EXCEPTION 'p_limit must be at least 1, not %', coalesce(p_limit::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Give the number of builds to release at most.';
    END IF;

    WITH released AS (
        UPDATE build_queue AS b
        SET admission = CASE
                WHEN EXISTS (
                    SELECT
                    FROM licenses AS l
                    WHERE l.customer_id = b.customer_id AND l.max_concurrent_builds IS NOT NULL
                ) THEN 'waiting'
                ELSE 'ready'
            END,
            updated_at = v_now
        WHERE b.id = ANY (ARRAY(
            SELECT q.id
            FROM build_queue AS q
            WHERE q.status = 'queued' AND q.admission = 'delayed' AND q.queued_at <= v_now
            ORDER BY q.queued_at
            LIMIT p_limit
            FOR NO KEY UPDATE SKIP LOCKED
        ))
        RETURNING b.customer_id, b.admission
    )
    SELECT
        count(*)::integer,
        array_agg(DISTINCT r.customer_id ORDER BY r.customer_id) FILTER (WHERE r.admission = 'waiting')
    INTO v_released, v_customers
    FROM released AS r;

    -- In order of the customers, so that two workers that release builds do not deadlock on the licences.
    FOREACH v_customer_id IN ARRAY coalesce(v_customers, '{}') LOOP
        PERFORM admit_builds(v_customer_id);
    END LOOP;
    RETURN v_released;
END;
$$;

COMMENT ON FUNCTION release_delayed_builds IS
    'Lets delayed builds that have become due into the queue, at most p_limit of them, and returns how many. '
    'Every claim calls it when there are any. Errors: 22023 when p_limit is NULL or less than 1.';
