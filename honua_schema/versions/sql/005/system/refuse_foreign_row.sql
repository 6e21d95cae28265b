CREATE OR REPLACE FUNCTION refuse_foreign_row() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = public, pg_temp
AS $$
BEGIN
    IF NEW.customer_id = current_setting('honua.customer_id', true) THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'new row violates row-level security policy for table "%"', TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege', TABLE = TG_TABLE_NAME;
END;
$$;

COMMENT ON FUNCTION refuse_foreign_row IS
    'Refuses a row of another customer, in the words and with the code (42501) of row security itself, which comes '
    'too late: triggers before it would already have told whether that customer''s licence allows the row.';
