CREATE OR REPLACE FUNCTION admit_builds(p_customer_id varchar) RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = public, pg_temp
AS $$
DECLARE
    v_limit integer;
    v_free integer;
    v_admitted integer;
BEGIN
    v_limit := (lock_license(p_customer_id)).max_concurrent_builds;
    IF v_limit IS NOT NULL THEN
        SELECT v_limit - count(*) INTO v_free
        FROM build_queue AS b
        WHERE b.customer_id = p_customer_id
          AND b.status IN ('queued', 'building')
          AND b.admission = 'ready';
    END IF;

    -- Who holds a licence never waits for a build: a locked build is being claimed or changed by somebody
    -- who will come for the licence himself.
    IF v_free < 0 THEN
        UPDATE build_queue AS b
        SET admission = 'waiting', updated_at = clock_timestamp()
        WHERE b.id = ANY (ARRAY(
            SELECT q.id
            FROM build_queue AS q
            WHERE q.customer_id = p_customer_id
              AND q.status IN ('queued', 'building')
              AND q.admission = 'ready'
              AND q.status = 'queued'
            ORDER BY q.priority, q.queued_at DESC
            LIMIT -v_free
            FOR UPDATE SKIP LOCKED
        ));
        RETURN 0;
    END IF;

    UPDATE build_queue AS b
    SET admission = 'ready', updated_at = clock_timestamp()
    WHERE b.id = ANY (ARRAY(
        SELECT q.id
        FROM build_queue AS q
        WHERE q.customer_id = p_customer_id
          AND q.status = 'queued'
          AND q.admission = 'waiting'
        ORDER BY q.priority DESC, q.queued_at
        LIMIT v_free
        FOR UPDATE SKIP LOCKED
    ));
    GET DIAGNOSTICS v_admitted = ROW_COUNT;
    RETURN v_admitted;
END;
$$;

COMMENT ON FUNCTION admit_builds IS
    'Brings a customer''s queued builds in line with max_concurrent_builds: the next waiting builds become ready '
    'while slots are free, the last ready ones wait while there are too many. Returns how many became ready. '
    'Triggers call it; calling it again does no harm.';
