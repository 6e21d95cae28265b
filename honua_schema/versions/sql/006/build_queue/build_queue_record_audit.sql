-- Without WHEN: PostgreSQL reads that anew at each statement, which costs more than to call the function.
CREATE OR REPLACE TRIGGER build_queue_record_audit
    AFTER UPDATE OF status ON build_queue
    FOR EACH ROW EXECUTE FUNCTION record_build_audit('customer_id', 'status', 'queued_at', 'retry_count', 'worker_id');

COMMENT ON TRIGGER build_queue_record_audit ON build_queue IS
    'Who cancelled a build or had it built again goes into audit_log; silent on claims, progress and completion';
