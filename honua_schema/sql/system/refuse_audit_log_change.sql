CREATE OR REPLACE FUNCTION refuse_audit_log_change() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = public, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION 'audit_log is append only: % refused', TG_OP
        USING ERRCODE = 'insufficient_privilege', TABLE = 'audit_log',
            HINT = 'Records leave it a month at a time, by drop_old_log_partitions(''audit_log'', months to keep).';
END;
$$;

COMMENT ON FUNCTION refuse_audit_log_change IS
    'Refuses to change or remove records of audit_log, with 42501. Partition maintenance needs no exception that '
    'others could claim: it drops partitions, and only their owner may do that or switch the trigger off.';
