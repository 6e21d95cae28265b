CREATE OR REPLACE FUNCTION admit_builds(p_customer_id varchar) RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = public, pg_temp
-- Else each statement is planned anew each time, which takes longer than the statement itself.
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    v_limit integer;
    v_free integer;
    v_admitted integer;
BEGIN
    v_limit := (lock_license(p_customer_id)).max_concurrent_builds;
    IF v_limit IS NOT NULL THEN
        SELECT v_limit - count(*)::integer INTO v_free
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
            FOR NO KEY UPDATE SKIP LOCKED
        ));
        v_free := 0;
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
        FOR NO KEY UPDATE SKIP LOCKED
    ));
    GET DIAGNOSTICS v_admitted = ROW_COUNT;
    IF v_admitted < v_free OR v_limit IS NULL THEN
        RETURN v_admitted;
    END IF;

    -- No slot is free now, but a build that comes later in the queue may hold one that nobody has claimed.
    WHILE EXISTS (
        SELECT
        FROM (
            SELECT q.priority, q.queued_at
            FROM build_queue AS q
            WHERE q.customer_id = p_customer_id
              AND q.status = 'queued'
              AND q.admission = 'waiting'
            ORDER BY q.priority DESC, q.queued_at
            LIMIT 1
        ) AS w
        JOIN build_queue AS r
            ON r.customer_id = p_customer_id
            AND r.status IN ('queued', 'building')
            AND r.admission = 'ready'
            AND r.status = 'queued'
            AND (w.priority > r.priority OR w.priority = r.priority AND w.queued_at < r.queued_at)
    ) LOOP
        WITH first_waiting AS MATERIALIZED (
            SELECT q.id, q.priority, q.queued_at
            FROM build_queue AS q
            WHERE q.customer_id = p_customer_id
              AND q.status = 'queued'
              AND q.admission = 'waiting'
            ORDER BY q.priority DESC, q.queued_at
            LIMIT 1
            FOR NO KEY UPDATE SKIP LOCKED
        ), last_ready AS MATERIALIZED (
            SELECT q.id
            FROM build_queue AS q
            WHERE q.customer_id = p_customer_id
              AND q.status IN ('queued', 'building')
              AND q.admission = 'ready'
              AND q.status = 'queued'
              AND EXISTS (
                  SELECT
                  FROM first_waiting AS w
                  WHERE w.priority > q.priority OR w.priority = q.priority AND w.queued_at < q.queued_at
              )
            ORDER BY q.priority, q.queued_at DESC
            LIMIT 1
            FOR NO KEY UPDATE SKIP LOCKED
        )
        UPDATE build_queue AS b
        SET admission = CASE WHEN b.id = w.id THEN 'ready' ELSE 'waiting' END, updated_at = clock_timestamp()
        FROM first_waiting AS w, last_ready AS r
        WHERE b.id IN (w.id, r.id);
        EXIT WHEN NOT FOUND;
        v_admitted := v_admitted + 1;
    END LOOP;
    RETURN v_admitted;
END;
$$;

COMMENT ON FUNCTION admit_builds IS
    'Brings a customer''s queued builds in line with max_concurrent_builds: the next waiting builds become ready '
    'while slots are free or held by later builds that nobody has claimed, and the last ready ones wait while '
    'there are too many. Returns how many became ready. Triggers call it; calling it again does no harm.';
