CREATE OR REPLACE FUNCTION cancel_build(p_build_id uuid, p_reason text DEFAULT NULL) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = public, pg_temp
AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
BEGIN
    WITH cancelled AS (
        UPDATE build_queue AS b
        SET status = 'cancelled', completed_at = v_now, updated_at = v_now
        WHERE b.id = p_build_id AND b.status IN ('queued', 'building')
        RETURNING b.id, b.worker_id, b.retry_count
    )
    INSERT INTO build_events (build_queue_id, event_type, event_timestamp, event_data, source, severity, message)
    SELECT c.id, 'build_cancelled', v_now,
        jsonb_build_object('worker_id', c.worker_id, 'retry_count', c.retry_count), 'cancel_build', 'info', p_reason
    FROM cancelled AS c;
    RETURN FOUND;
END;
$$;

COMMENT ON FUNCTION cancel_build IS
    'Cancels a build that is queued or building and records the reason as an event. False when there is no such '
    'build, or it has ended. A worker that holds it learns of it from its next progress report or completion.';
