CREATE OR REPLACE FUNCTION admission_of_build(
    p_customer_id varchar,
    p_priority integer,
    p_queued_at timestamptz
) RETURNS varchar
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = public, pg_temp
AS $$
DECLARE
    v_limit integer;
    v_in_use integer;
BEGIN
    IF p_queued_at > clock_timestamp() THEN
        RETURN 'delayed';
    END IF;

    -- Most customers have no limit: they are spared the lock.
    PERFORM
    FROM licenses AS l
    WHERE l.customer_id = p_customer_id AND l.max_concurrent_builds IS NOT NULL;
    IF NOT FOUND THEN
        RETURN 'ready';
    END IF;

    v_limit := (lock_license(p_customer_id)).max_concurrent_builds;
    SELECT count(*) INTO v_in_use
    FROM build_queue AS b
    WHERE b.customer_id = p_customer_id
      AND b.status IN ('queued', 'building')
      AND b.admission = 'ready';
    IF v_limit IS NULL OR v_in_use < v_limit THEN
        RETURN 'ready';
    END IF;

    -- No slot is free, but a build that comes later in the queue may have one that nobody has claimed.
    UPDATE build_queue AS b
    SET admission = 'waiting', updated_at = clock_timestamp()
    WHERE b.id = (
        SELECT q.id
        FROM build_queue AS q
        WHERE q.customer_id = p_customer_id
          AND q.status IN ('queued', 'building')
          AND q.admission = 'ready'
          AND q.status = 'queued'
          AND (q.priority, p_queued_at) < (p_priority, q.queued_at)
          AND v_in_use = v_limit
        ORDER BY q.priority, q.queued_at DESC
        LIMIT 1
        FOR UPDATE SKIP LOCKED
    );
    RETURN CASE WHEN FOUND THEN 'ready' ELSE 'waiting' END;
END;
$$;

COMMENT ON FUNCTION admission_of_build IS
    'Decides whether a build that enters the queue may be claimed: delayed until it is due, waiting while the '
    'customer is at max_concurrent_builds, otherwise ready. Locks the licence of a customer with a limit; a build '
    'of lower priority that is still unclaimed gives up its slot.';
