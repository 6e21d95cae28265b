-- Left out: user name and password, and the registry's error message, which may repeat them.
CREATE OR REPLACE TRIGGER registry_credentials_record_audit
    AFTER INSERT OR UPDATE OR DELETE ON registry_credentials
    FOR EACH ROW EXECUTE FUNCTION record_audit(
        'customer_id', 'registry_name', 'registry_url', 'registry_provider', 'encryption_key_id', 'is_default',
        'is_active', 'last_validated_at', 'validation_status', 'revoked_at'
    );

COMMENT ON TRIGGER registry_credentials_record_audit ON registry_credentials IS
    'Every change goes into audit_log; its arguments are the columns whose values may be recorded';
