CREATE OR REPLACE TRIGGER audit_log_no_truncate
    BEFORE TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_log_change();

COMMENT ON TRIGGER audit_log_no_truncate ON audit_log IS 'The log is not emptied';
