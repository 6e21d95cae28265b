CREATE OR REPLACE FUNCTION free_build_slot() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = public, pg_temp
AS $$
DECLARE
    v_customer_id varchar;
BEGIN
    -- A customer without a limit has nobody waiting: it is spared the lock.
    FOR v_customer_id IN
        SELECT l.customer_id
        FROM licenses AS l
        WHERE l.customer_id IN (
                CASE WHEN TG_OP <> 'INSERT' THEN OLD.customer_id END,
                CASE WHEN TG_OP <> 'DELETE' THEN NEW.customer_id END
            )
          AND l.max_concurrent_builds IS NOT NULL
        ORDER BY l.customer_id
    LOOP
        PERFORM admit_builds(v_customer_id);
    END LOOP;
    RETURN NULL;
END;
$$;

COMMENT ON FUNCTION free_build_slot IS
    'Lets the customer''s next waiting build into the queue when a build gave up its slot, or came back for one.';
