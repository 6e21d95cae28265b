-- Not OF status: that would fire on each claim and completion, which leave admission as it is.
CREATE OR REPLACE TRIGGER build_queue_requeue
    BEFORE UPDATE OF priority, queued_at, customer_id, architecture, admission ON build_queue
    FOR EACH ROW EXECUTE FUNCTION requeue_build();

COMMENT ON TRIGGER build_queue_requeue ON build_queue IS
    'Admission of a build that returns to the queue or changes its place there';
