CREATE OR REPLACE FUNCTION change_build_limit() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = public, pg_temp
AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        PERFORM admit_builds(OLD.customer_id);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        PERFORM admit_builds(NEW.customer_id);
    END IF;
    RETURN NULL;
END;
$$;

COMMENT ON FUNCTION change_build_limit IS
    'Lets waiting builds into the queue, or makes ready ones wait, when a customer''s concurrent limit changes.';
