CREATE OR REPLACE FUNCTION record_audit() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
DECLARE
    v_old jsonb := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END;
    v_new jsonb := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END;
BEGIN
    -- What the database sets itself is nobody's change.
    IF v_old - '{updated_at,customer_number}'::text[] = v_new - '{updated_at,customer_number}'::text[] THEN
        RETURN NULL;
    END IF;

    PERFORM write_audit_log(TG_TABLE_NAME, TG_OP, v_old, v_new, TG_ARGV);
    RETURN NULL;
END;
$$;

COMMENT ON FUNCTION record_audit IS
    'Records a change of a row in audit_log, with the old and new values of the columns given as the trigger''s arguments '
    'and of no others. An update that changes nothing, or no more than updated_at and customer_number, is not recorded.';
