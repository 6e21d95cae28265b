-- Left out: metadata, which may hold anything, and the contact's name and address, which are personal data and
-- could never be removed from the log.
CREATE OR REPLACE TRIGGER customers_record_audit
    AFTER INSERT OR UPDATE OR DELETE ON customers
    FOR EACH ROW EXECUTE FUNCTION record_audit(
        'customer_id', 'organization_name', 'subscription_status', 'tier', 'tags', 'deleted_at'
    );

COMMENT ON TRIGGER customers_record_audit ON customers IS
    'Every change goes into audit_log; its arguments are the columns whose values may be recorded';
