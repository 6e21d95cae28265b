CREATE OR REPLACE FUNCTION record_build_audit() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
BEGIN
    IF NEW.status IN ('cancelled', 'queued') AND NEW.status <> OLD.status THEN
        PERFORM write_audit_log(TG_TABLE_NAME, TG_OP, to_jsonb(OLD), to_jsonb(NEW), TG_ARGV);
    END IF;
    RETURN NULL;
END;
$$;

COMMENT ON FUNCTION record_build_audit IS
    'Records in audit_log that a build was cancelled or had to be built again, as record_audit() does.';
