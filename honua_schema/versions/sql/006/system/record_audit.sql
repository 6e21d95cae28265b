CREATE OR REPLACE FUNCTION record_audit() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
DECLARE
    v_old jsonb := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END;
    v_new jsonb := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END;
BEGIN
    IF v_old - 'updated_at' = v_new - 'updated_at' THEN
        RETURN NULL;
    END IF;

    PERFORM write_audit_log(TG_TABLE_NAME, TG_OP, v_old, v_new, TG_ARGV);
    RETURN NULL;
END;
$$;

COMMENT ON FUNCTION record_audit IS
    'Records a change of a row in audit_log, with the old and new values of the columns given as the trigger''s arguments '
    'and of no others. An update that changes nothing, or updated_at alone, is not recorded.';
