CREATE OR REPLACE FUNCTION update_build_progress(
    p_build_id uuid,
    p_progress_percent integer,
    p_current_step varchar,
    p_steps_completed integer DEFAULT NULL,
    p_worker_id varchar DEFAULT NULL,
    p_retry_count integer DEFAULT NULL
) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
BEGIN
    IF p_progress_percent NOT BETWEEN 0 AND 100 THEN
        RAISE EXCEPTION 'p_progress_percent must be between 0 and 100 or NULL, not %', p_progress_percent
            USING ERRCODE = 'invalid_parameter_value',
                HINT = 'Give the progress of the build in percent, or NULL when there is nothing new.';
    END IF;
    -- IS NOT DISTINCT FROM keeps the planner to the primary key: an index on running builds fills with dead
    -- entries as builds come and go.
    UPDATE build_queue AS b
    SET progress_percent = coalesce(p_progress_percent, b.progress_percent),
        current_step = coalesce(p_current_step, b.current_step),
        steps_completed = coalesce(p_steps_completed, b.steps_completed),
        heartbeat_at = v_now,
        updated_at = v_now
    WHERE b.id = p_build_id
      AND b.status IS NOT DISTINCT FROM 'building'
      AND (p_worker_id IS NULL OR b.worker_id = p_worker_id)
      AND (p_retry_count IS NULL OR b.retry_count = p_retry_count);
    RETURN FOUND;
END;
$$;

COMMENT ON FUNCTION update_build_progress IS
    'Reports progress of a running build, and that its worker is alive. False when the build is not building, or '
    'no longer held by the worker and attempt that are given: the worker should stop. What is NULL stays as it was: '
    'with nothing but NULL it is a mere sign of life. Errors: 22023 when the percentage is not between 0 and 100; '
    '23514 when the number of steps is negative.';
