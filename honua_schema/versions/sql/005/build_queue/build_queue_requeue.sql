CREATE OR REPLACE TRIGGER build_queue_requeue
    BEFORE UPDATE OF status, priority, queued_at, customer_id, architecture ON build_queue
    FOR EACH ROW
    WHEN (
        NEW.status = 'queued' AND (
            OLD.status <> 'queued'
            OR OLD.priority <> NEW.priority
            OR OLD.queued_at <> NEW.queued_at
            OR OLD.customer_id <> NEW.customer_id
        )
        OR NEW.status <> 'queued' AND NEW.admission <> 'ready'
        OR NEW.architecture IS NULL
    )
    EXECUTE FUNCTION requeue_build();

COMMENT ON TRIGGER build_queue_requeue ON build_queue IS
    'Admission of a build that returns to the queue or changes its place there; silent on claims and progress';
