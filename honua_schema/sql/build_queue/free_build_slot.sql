CREATE OR REPLACE FUNCTION free_build_slot() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
DECLARE
    v_customer_id varchar;
BEGIN
    -- A claim takes the slot that the build has.
    IF NEW.status = 'building' AND OLD.status = 'queued' AND OLD.admission = 'ready' THEN
        RETURN NULL;
    END IF;

    FOREACH v_customer_id IN ARRAY CASE
        WHEN OLD.customer_id <> NEW.customer_id THEN ARRAY[
            least(OLD.customer_id, NEW.customer_id), greatest(OLD.customer_id, NEW.customer_id)
        ]
        ELSE ARRAY[coalesce(NEW.customer_id, OLD.customer_id)]
    END LOOP
        -- A customer without a limit has nobody waiting, and is spared the lock; but the limit may have been lifted
        -- since this build began to wait.
        IF NEW.admission = 'waiting' AND NEW.customer_id = v_customer_id OR EXISTS (
            SELECT
            FROM licenses AS l
            WHERE l.customer_id = v_customer_id AND l.max_concurrent_builds IS NOT NULL
        ) THEN
            PERFORM admit_builds(v_customer_id);
        END IF;
    END LOOP;
    RETURN NULL;
END;
$$;

COMMENT ON FUNCTION free_build_slot IS
    'Gives a slot that a build gave up to the customer''s next one, and a build that began to wait its due place.';
