CREATE OR REPLACE FUNCTION validate_build_queue_insert() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
DECLARE
    v_license licenses;
    v_month timestamptz;
    v_next_month timestamptz;
    v_builds integer;
BEGIN
    NEW.architecture := coalesce(NEW.architecture, 'amd64');
    NEW.admission := CASE
        WHEN NEW.status = 'queued' AND NEW.queued_at > clock_timestamp() THEN 'delayed' ELSE 'ready'
    END;
    -- Bounds of claims keep a distance of more than that from the present.
    IF NEW.status = 'queued' AND NEW.queued_at < clock_timestamp() - interval '25 milliseconds' THEN
        PERFORM lower_claim_bound(NEW.architecture, NEW.priority, NEW.queued_at);
    END IF;

    SELECT l.* INTO v_license FROM licenses AS l WHERE l.customer_id = NEW.customer_id;
    IF NOT FOUND THEN
        RETURN NEW;
    END IF;

    IF v_license.max_builds_per_month IS NOT NULL OR v_license.max_concurrent_builds IS NOT NULL THEN
        v_license := lock_license(NEW.customer_id);
    END IF;

    -- An order sent twice is answered by its unique key, not by the quota. The lock sees to it that the key stays; who
    -- is just deleting it is not waited for.
    IF NEW.idempotency_key IS NOT NULL THEN
        PERFORM
        FROM build_queue AS b
        WHERE b.customer_id = NEW.customer_id AND b.idempotency_key = NEW.idempotency_key
        FOR KEY SHARE SKIP LOCKED;
        IF FOUND THEN
            RETURN NEW;
        END IF;
    END IF;

    IF v_license.status NOT IN ('active', 'trial') THEN
        RAISE EXCEPTION 'licence of customer % is %', NEW.customer_id, v_license.status
            USING ERRCODE = 'check_violation', CONSTRAINT = 'license_allows_builds', TABLE = 'licenses',
                HINT = 'New builds need an active or trial licence: renew it, then queue the build again.';
    END IF;
    IF license_ends_at(v_license) <= clock_timestamp() THEN
        RAISE EXCEPTION 'licence of customer % expired at %', NEW.customer_id, license_ends_at(v_license)
            USING ERRCODE = 'check_violation', CONSTRAINT = 'license_allows_builds', TABLE = 'licenses',
                HINT = 'New builds need an unexpired licence: renew it, then queue the build again.';
    END IF;

    IF v_license.max_builds_per_month IS NOT NULL THEN
        v_month := date_trunc('month', NEW.queued_at, 'UTC');
        v_next_month := (v_month AT TIME ZONE 'UTC' + interval '1 month') AT TIME ZONE 'UTC';
        -- Counting stops at the quota, so the cost does not grow with the queue. A delayed retry moves queued_at,
        -- and so a build that was retried counts in the month of created_at where that is before.
        SELECT count(*)::integer INTO v_builds
        FROM (
            SELECT
            FROM build_queue AS b
            WHERE b.customer_id = NEW.customer_id
              AND b.queued_at >= v_month
              AND CASE
                WHEN b.retry_count = 0 THEN b.queued_at < v_next_month
                ELSE b.created_at >= v_month AND least(b.queued_at, b.created_at) < v_next_month
              END
            LIMIT v_license.max_builds_per_month
        ) AS this_month;
        IF v_builds >= v_license.max_builds_per_month THEN
            RAISE EXCEPTION 'customer % has used its quota of % builds for the month %',
                NEW.customer_id, v_license.max_builds_per_month, to_char(v_month AT TIME ZONE 'UTC', 'YYYY-MM')
                USING ERRCODE = 'check_violation', CONSTRAINT = 'max_builds_per_month', TABLE = 'licenses',
                    HINT = 'Wait for the next month (UTC), or raise licenses.max_builds_per_month.';
        END IF;
    END IF;

    IF v_license.max_concurrent_builds IS NOT NULL AND NEW.status = 'building' THEN
        -- The trigger after the insert makes it ready, and takes the slot from another.
        NEW.admission := 'waiting';
    ELSIF v_license.max_concurrent_builds IS NOT NULL AND NEW.status = 'queued' AND NEW.admission = 'ready' THEN
        SELECT count(*)::integer INTO v_builds
        FROM (
            SELECT
            FROM build_queue AS b
            WHERE b.customer_id = NEW.customer_id
              AND b.status IN ('queued', 'building')
              AND b.admission = 'ready'
            LIMIT v_license.max_concurrent_builds
        ) AS slots;
        IF v_builds >= v_license.max_concurrent_builds THEN
            NEW.admission := 'waiting';
        END IF;
    END IF;
    RETURN NEW;
END;
$$;

COMMENT ON FUNCTION validate_build_queue_insert IS
    'Refuses a build whose customer has a licence that is not active or trial, has expired, or has used up its '
    'monthly quota; exact under concurrency, for the licence is locked. A customer without a licence is not limited. '
    'Otherwise decides whether the build may be claimed at once.';
