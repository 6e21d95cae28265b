-- Left out: the licence key and its hash.
CREATE OR REPLACE TRIGGER licenses_record_audit
    AFTER INSERT OR UPDATE OR DELETE ON licenses
    FOR EACH ROW EXECUTE FUNCTION record_audit(
        'customer_id', 'tier', 'status', 'issued_at', 'expires_at', 'trial_expires_at', 'features',
        'max_builds_per_month', 'max_registries', 'max_concurrent_builds', 'revoked_at', 'revoked_by', 'revoked_reason'
    );

COMMENT ON TRIGGER licenses_record_audit ON licenses IS
    'Every change goes into audit_log; its arguments are the columns whose values may be recorded';
