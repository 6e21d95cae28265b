CREATE OR REPLACE FUNCTION update_updated_at_column() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = public, pg_temp
AS $$
BEGIN
    -- Compared here and not in the trigger's condition, which PostgreSQL parses anew for every statement.
    IF NEW IS DISTINCT FROM OLD THEN
        NEW.updated_at := now();
    END IF;
    RETURN NEW;
END;
$$;

COMMENT ON FUNCTION update_updated_at_column IS
    'Sets updated_at of a row that changed. The triggers call it only where the caller did not set it.';
