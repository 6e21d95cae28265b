CREATE OR REPLACE FUNCTION free_build_slot() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = public, pg_temp
AS $$
DECLARE
    v_customer_id varchar;
BEGIN
    -- A customer without a limit has nobody waiting, unless the limit was lifted a moment ago: it is spared the lock.
    FOR v_customer_id IN
        SELECT c.customer_id
        FROM customers AS c
        WHERE c.customer_id IN (OLD.customer_id, NEW.customer_id)
          AND (
            c.customer_id = NEW.customer_id AND NEW.admission = 'waiting'
            OR EXISTS (
                SELECT
                FROM licenses AS l
                WHERE l.customer_id = c.customer_id AND l.max_concurrent_builds IS NOT NULL
            )
          )
        ORDER BY c.customer_id
    LOOP
        PERFORM admit_builds(v_customer_id);
    END LOOP;
    RETURN NULL;
END;
$$;

COMMENT ON FUNCTION free_build_slot IS
    'Gives a slot that a build gave up to the customer''s next one, and one to a build that came to wait for it.';
