CREATE OR REPLACE FUNCTION handle_build_timeouts(p_heartbeat_seconds integer DEFAULT NULL, p_limit integer DEFAULT NULL)
RETURNS TABLE (build_id uuid, customer_id varchar, worker_id varchar)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    v_heartbeat timestamptz;
    v_customers varchar[];
BEGIN
    IF p_heartbeat_seconds < 1 THEN
        RAISE EXCEPTION 'p_heartbeat_seconds must be at least 1 or NULL, not %', p_heartbeat_seconds
            USING ERRCODE = 'invalid_parameter_value',
                HINT = 'Give how long a worker may be silent, in seconds, or NULL to look at timeout_at only.';
    END IF;
    IF p_limit < 1 THEN
        RAISE EXCEPTION 'p_limit must be at least 1 or NULL, not %', p_limit
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Give the number of builds to end at most.';
    END IF;
    v_heartbeat := v_now - make_interval(secs => p_heartbeat_seconds);

    -- Licences first and in order, for the end of each build may let the next one in. A build that was not seen
    -- to be overdue until they were locked is left for the next call, unless it needs none.
    v_customers := ARRAY(
        SELECT (lock_license(overdue.customer_id)).customer_id
        FROM (
            SELECT DISTINCT b.customer_id
            FROM build_queue AS b
            JOIN licenses AS l ON l.customer_id = b.customer_id AND l.max_concurrent_builds IS NOT NULL
            WHERE b.status = 'building' AND (b.timeout_at <= v_now OR b.heartbeat_at <= v_heartbeat)
            ORDER BY b.customer_id
        ) AS overdue
    );

    RETURN QUERY
    WITH overdue AS MATERIALIZED (
        SELECT b.id
        FROM build_queue AS b
        WHERE b.status = 'building'
          AND (b.timeout_at <= v_now OR b.heartbeat_at <= v_heartbeat)
          AND (
            b.customer_id = ANY (v_customers)
            OR NOT EXISTS (
                SELECT
                FROM licenses AS l
                WHERE l.customer_id = b.customer_id AND l.max_concurrent_builds IS NOT NULL
            )
          )
        ORDER BY b.id
        LIMIT p_limit
        FOR NO KEY UPDATE SKIP LOCKED
    ), ended AS (
        UPDATE build_queue AS b
        SET status = 'timeout', completed_at = v_now, updated_at = v_now
        FROM overdue
        WHERE b.id = overdue.id
        RETURNING b.id, b.customer_id, b.worker_id, b.retry_count, b.timeout_at, b.heartbeat_at
    ), recorded AS (
        INSERT INTO build_events
            (build_queue_id, event_type, event_timestamp, event_data, source, severity, message)
        SELECT e.id, 'build_timed_out', v_now,
            jsonb_build_object('worker_id', e.worker_id, 'retry_count', e.retry_count,
                'timeout_at', e.timeout_at, 'heartbeat_at', e.heartbeat_at),
            'handle_build_timeouts', 'error',
            CASE WHEN e.timeout_at <= v_now THEN 'The build took too long' ELSE 'The worker went silent' END
        FROM ended AS e
    )
    SELECT e.id, e.customer_id, e.worker_id FROM ended AS e;
END;
$$;

COMMENT ON FUNCTION handle_build_timeouts IS
    'Ends builds whose time is up and, where p_heartbeat_seconds is given, builds whose worker has been silent for '
    'that long; each is recorded as an event and returned. A build whose row is locked is left for the next call: '
    'somebody is just now reporting on it. Errors: 22023 when p_heartbeat_seconds or p_limit is less than 1.';
