CREATE OR REPLACE FUNCTION change_build_limit() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
BEGIN
    IF TG_OP <> 'INSERT' AND NEW.customer_id IS DISTINCT FROM OLD.customer_id THEN
        PERFORM admit_builds(OLD.customer_id);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        -- Builds without a limit end without the licence's lock, and would not see who waits from now on.
        -- Nor do orders lock it, but the customer, by their foreign key.
        IF OLD.max_concurrent_builds IS NULL AND NEW.max_concurrent_builds IS NOT NULL THEN
            PERFORM FROM customers AS c WHERE c.customer_id = NEW.customer_id FOR UPDATE;
            PERFORM
            FROM build_queue AS b
            WHERE b.customer_id = NEW.customer_id
              AND b.status IN ('queued', 'building')
              AND b.admission = 'ready'
            ORDER BY b.id
            FOR NO KEY UPDATE;
        END IF;
        PERFORM admit_builds(NEW.customer_id);
    END IF;
    RETURN NULL;
END;
$$;

COMMENT ON FUNCTION change_build_limit IS
    'Lets waiting builds into the queue, or makes ready ones wait, when a customer''s concurrent limit changes.';
