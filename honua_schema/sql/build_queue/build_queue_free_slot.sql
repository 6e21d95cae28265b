-- Without WHEN: PostgreSQL reads that anew at each statement, which costs more than to call the function.
CREATE OR REPLACE TRIGGER build_queue_free_slot
    AFTER UPDATE OF status, priority, queued_at, customer_id ON build_queue
    FOR EACH ROW EXECUTE FUNCTION free_build_slot();

COMMENT ON TRIGGER build_queue_free_slot ON build_queue IS
    'The next build of a customer whose build gave up its slot';
