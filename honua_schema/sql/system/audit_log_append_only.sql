CREATE OR REPLACE TRIGGER audit_log_append_only
    BEFORE UPDATE OR DELETE ON audit_log
    FOR EACH ROW EXECUTE FUNCTION refuse_audit_log_change();

COMMENT ON TRIGGER audit_log_append_only ON audit_log IS
    'Records are neither changed nor removed; every partition has the trigger too';
