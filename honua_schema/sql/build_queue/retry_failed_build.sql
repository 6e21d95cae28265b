CREATE OR REPLACE FUNCTION retry_failed_build(p_build_id uuid, p_delay interval DEFAULT '0') RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
DECLARE
    v_build build_queue;
    v_now timestamptz := clock_timestamp();
BEGIN
    -- To be compared, a year counts as 360 days; to be added, as what the calendar says.
    IF p_delay IS NULL OR p_delay NOT BETWEEN interval '0' AND interval '366 days'
        OR v_now + p_delay > v_now + interval '1 year'
    THEN
        RAISE EXCEPTION 'p_delay must be between 0 and 1 year, not %', coalesce(p_delay::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Give the time to wait before the retry.';
    END IF;

    SELECT b.* INTO v_build FROM build_queue AS b WHERE b.id = p_build_id FOR NO KEY UPDATE;
    IF NOT FOUND OR v_build.status NOT IN ('failed', 'timeout') OR v_build.retry_count >= v_build.max_retries THEN
        RETURN false;
    END IF;

    INSERT INTO build_events (build_queue_id, event_type, event_timestamp, event_data, source, severity, message)
    SELECT p_build_id, 'build_retried', v_now,
        jsonb_build_object(
            'status', v_build.status,
            'retry_count', v_build.retry_count,
            'worker_id', v_build.worker_id,
            'worker_hostname', v_build.worker_hostname,
            'started_at', v_build.started_at,
            'completed_at', v_build.completed_at,
            'result', to_jsonb(r) - ARRAY['id', 'build_queue_id', 'customer_id', 'stdout_log', 'stderr_log']
        ),
        'retry_failed_build', 'warning',
        format('Attempt %s of %s ended as %s', v_build.retry_count + 1, v_build.max_retries + 1, v_build.status)
    FROM (SELECT) AS attempt
    LEFT JOIN build_results AS r
        ON r.build_queue_id = p_build_id AND v_build.status = 'failed';

    -- Without a delay the build keeps its place in the queue, and its month in the quota.
    UPDATE build_queue AS b
    SET status = 'queued',
        queued_at = CASE WHEN p_delay > interval '0' THEN v_now + p_delay ELSE b.queued_at END,
        retry_count = b.retry_count + 1,
        last_retry_at = v_now,
        started_at = NULL,
        completed_at = NULL,
        timeout_at = NULL,
        heartbeat_at = NULL,
        worker_id = NULL,
        worker_hostname = NULL,
        worker_assigned_at = NULL,
        progress_percent = 0,
        current_step = NULL,
        steps_completed = 0,
        updated_at = v_now
    WHERE b.id = p_build_id;
    RETURN true;
END;
$$;

COMMENT ON FUNCTION retry_failed_build IS
    'Puts a failed or timed out build back into the queue, at once or after p_delay, while it has retries left; '
    'the attempt that ended stays in build_events. False otherwise. Errors: 22023 when the delay is NULL, '
    'negative or longer than a year.';
