CREATE OR REPLACE FUNCTION complete_build(
    p_build_id uuid,
    p_worker_id varchar,
    p_retry_count integer,
    p_success boolean,
    p_actual_duration_seconds numeric,
    p_exit_code integer DEFAULT NULL,
    p_stdout_log text DEFAULT NULL,
    p_stderr_log text DEFAULT NULL,
    p_error_message text DEFAULT NULL,
    p_error_code varchar DEFAULT NULL,
    p_peak_memory_mb integer DEFAULT NULL,
    p_peak_cpu_percent numeric DEFAULT NULL,
    p_disk_usage_mb integer DEFAULT NULL,
    p_total_layers integer DEFAULT NULL,
    p_cache_layers_used integer DEFAULT NULL,
    p_new_layers_built integer DEFAULT NULL,
    p_final_image_size_bytes bigint DEFAULT NULL,
    p_image_digest varchar DEFAULT NULL,
    p_image_tags text[] DEFAULT NULL,
    p_pushed_to_registry boolean DEFAULT NULL,
    p_push_duration_seconds numeric DEFAULT NULL,
    p_build_cache_id uuid DEFAULT NULL
) RETURNS uuid
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
DECLARE
    v_status varchar := CASE WHEN p_success THEN varchar 'success' ELSE 'failed' END;
    v_now timestamptz := clock_timestamp();
    v_customer_id varchar;
    v_result_id uuid;
BEGIN
    IF p_success IS NULL OR p_actual_duration_seconds IS NULL THEN
        RAISE EXCEPTION '% must not be NULL',
            CASE WHEN p_success IS NULL THEN 'p_success' ELSE 'p_actual_duration_seconds' END
            USING ERRCODE = 'null_value_not_allowed', HINT = 'A completed build has an outcome and a duration.';
    END IF;

    -- The status must not lead the planner to an index on running builds: it fills with dead entries.
    UPDATE build_queue AS b
    SET status = v_status,
        completed_at = v_now,
        progress_percent = CASE WHEN p_success THEN 100 ELSE b.progress_percent END,
        updated_at = v_now
    WHERE b.id = p_build_id
      AND b.worker_id = p_worker_id
      AND b.retry_count = p_retry_count
      AND b.status IS NOT DISTINCT FROM 'building'
    RETURNING b.customer_id INTO v_customer_id;

    IF NOT FOUND THEN
        -- The same call again, whose first answer got lost, is told the same.
        SELECT r.id INTO v_result_id
        FROM build_queue AS b
        JOIN build_results AS r ON r.build_queue_id = b.id
        WHERE b.id = p_build_id
          AND b.worker_id = p_worker_id
          AND b.retry_count = p_retry_count
          AND b.status = v_status;
        RETURN v_result_id;
    END IF;

    INSERT INTO build_results AS r (
        build_queue_id, success, exit_code, stdout_log, stderr_log, error_message, error_code,
        actual_duration_seconds, peak_memory_mb, peak_cpu_percent, disk_usage_mb, total_layers,
        cache_layers_used, new_layers_built, final_image_size_bytes, image_digest, image_tags,
        pushed_to_registry, push_duration_seconds, build_cache_id, created_at, customer_id
    )
    VALUES (
        p_build_id, p_success, p_exit_code, p_stdout_log, p_stderr_log, p_error_message, p_error_code,
        p_actual_duration_seconds, p_peak_memory_mb, p_peak_cpu_percent, p_disk_usage_mb, p_total_layers,
        p_cache_layers_used, p_new_layers_built, p_final_image_size_bytes, p_image_digest, p_image_tags,
        coalesce(p_pushed_to_registry, false), p_push_duration_seconds, p_build_cache_id, v_now,
        v_customer_id
    )
    ON CONFLICT (build_queue_id) DO UPDATE
    SET success = excluded.success,
        exit_code = excluded.exit_code,
        stdout_log = excluded.stdout_log,
        stderr_log = excluded.stderr_log,
        error_message = excluded.error_message,
        error_code = excluded.error_code,
        actual_duration_seconds = excluded.actual_duration_seconds,
        peak_memory_mb = excluded.peak_memory_mb,
        peak_cpu_percent = excluded.peak_cpu_percent,
        disk_usage_mb = excluded.disk_usage_mb,
        total_layers = excluded.total_layers,
        cache_layers_used = excluded.cache_layers_used,
        new_layers_built = excluded.new_layers_built,
        final_image_size_bytes = excluded.final_image_size_bytes,
        image_digest = excluded.image_digest,
        image_tags = excluded.image_tags,
        pushed_to_registry = excluded.pushed_to_registry,
        push_duration_seconds = excluded.push_duration_seconds,
        build_cache_id = excluded.build_cache_id,
        created_at = excluded.created_at,
        logs_truncated_at = NULL
    RETURNING r.id INTO v_result_id;
    RETURN v_result_id;
END;
$$;

COMMENT ON FUNCTION complete_build IS
    'Ends a running build and records its outcome, in one step, for the worker and attempt that hold it. Returns the '
    'id of the build_results row; the same call again returns it again; NULL when the build timed out, was cancelled '
    'or was given to somebody else meanwhile, and then nothing is changed. A retry replaces the row of the attempt '
    'before, which retry_failed_build() keeps in build_events. Errors: 22004 without outcome or duration; 23514 '
    'when a value is out of its range.';
