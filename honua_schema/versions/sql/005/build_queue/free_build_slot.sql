CREATE OR REPLACE FUNCTION free_build_slot() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = public, pg_temp
-- Else each statement is planned anew each time, which takes longer than the statement itself.
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    v_limit integer;
    v_free integer;
BEGIN
    -- Few and simple conditions on the way of a claim and of an end, for each is made ready anew in each transaction.
    IF NEW.status = 'building' AND OLD.status = 'queued' AND OLD.admission = 'ready' THEN
        -- A claim takes the slot that the build has.
        RETURN NULL;
    END IF;

    IF (NEW.status <> 'queued' AND NEW.admission = 'ready' AND NEW.customer_id = OLD.customer_id) IS NOT TRUE THEN
        -- A new build found no free slot. It waits in its turn, unless it comes before one that has a slot and is
        -- not claimed yet.
        IF TG_OP = 'INSERT' AND NEW.status = 'queued' AND NOT EXISTS (
            SELECT
            FROM build_queue AS q
            WHERE q.customer_id = NEW.customer_id
              AND q.status IN ('queued', 'building')
              AND q.admission = 'ready'
              AND q.status = 'queued'
              AND (q.priority < NEW.priority OR q.priority = NEW.priority AND q.queued_at > NEW.queued_at)
        ) THEN
            RETURN NULL;
        END IF;

        -- Whoever changes the status need not know of admission.
        IF NEW.status <> 'queued' THEN
            IF NEW.admission <> 'ready' THEN
                UPDATE build_queue AS b SET admission = 'ready', updated_at = NEW.updated_at WHERE b.id = NEW.id;
            END IF;
        ELSIF NEW.admission <> 'delayed' AND NEW.queued_at > clock_timestamp() THEN
            UPDATE build_queue AS b SET admission = 'delayed', updated_at = NEW.updated_at WHERE b.id = NEW.id;
        ELSIF NEW.admission = 'ready' THEN
            PERFORM lower_claim_bound(NEW.architecture, NEW.priority, NEW.queued_at);
        END IF;
        IF NEW.customer_id <> OLD.customer_id THEN
            -- Licences are locked in the order of their customers.
            PERFORM admit_builds(least(OLD.customer_id, NEW.customer_id));
        END IF;
        -- A customer without a limit has nobody waiting, and is spared the lock; but the limit may have been lifted
        -- since this build began to wait.
        IF NEW.admission = 'waiting' OR EXISTS (
            SELECT
            FROM licenses AS l
            WHERE l.customer_id = greatest(OLD.customer_id, NEW.customer_id) AND l.max_concurrent_builds IS NOT NULL
        ) THEN
            PERFORM admit_builds(greatest(OLD.customer_id, NEW.customer_id));
        END IF;
        RETURN NULL;
    END IF;

    -- A build ended, and leaves nothing else to be put right. The order of the customer's builds is as it was, so the
    -- first that wait are the next: what admit_builds() would find out about it is known.
    SELECT l.max_concurrent_builds INTO v_limit
    FROM licenses AS l
    WHERE l.customer_id = NEW.customer_id AND l.max_concurrent_builds IS NOT NULL
    FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    -- At the stricter levels this lock is not enough for an exact count: lock_license() says why.
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        PERFORM lock_license(NEW.customer_id);
    END IF;
    SELECT v_limit - count(*)::integer INTO v_free
    FROM build_queue AS b
    WHERE b.customer_id = NEW.customer_id
      AND b.status IN ('queued', 'building')
      AND b.admission = 'ready';
    -- The limit was lowered: more run than it allows, or one was locked when it should have begun to wait.
    IF v_free < 0 THEN
        PERFORM admit_builds(NEW.customer_id);
        RETURN NULL;
    END IF;
    UPDATE build_queue AS b
    SET admission = 'ready', updated_at = clock_timestamp()
    WHERE b.id = ANY (ARRAY(
        SELECT q.id
        FROM build_queue AS q
        WHERE q.customer_id = NEW.customer_id
          AND q.status = 'queued'
          AND q.admission = 'waiting'
        ORDER BY q.priority DESC, q.queued_at
        LIMIT v_free
        FOR NO KEY UPDATE SKIP LOCKED
    ));
    RETURN NULL;
END;
$$;

COMMENT ON FUNCTION free_build_slot IS
    'Gives a slot that a build gave up to the customer''s next one, and a build that began to wait its due place.';
