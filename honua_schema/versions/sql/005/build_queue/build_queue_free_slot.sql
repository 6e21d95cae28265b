CREATE OR REPLACE TRIGGER build_queue_free_slot
    AFTER UPDATE OF status, priority, queued_at, customer_id ON build_queue
    FOR EACH ROW
    WHEN (
        OLD.status IN ('queued', 'building') AND OLD.admission = 'ready'
            AND (NEW.status NOT IN ('queued', 'building') OR NEW.admission <> 'ready'
                OR OLD.customer_id <> NEW.customer_id)
        OR NEW.status = 'queued' AND NEW.admission = 'waiting'
        OR NEW.status = 'building' AND (OLD.status <> 'queued' OR OLD.admission <> 'ready')
    )
    EXECUTE FUNCTION free_build_slot();

COMMENT ON TRIGGER build_queue_free_slot ON build_queue IS
    'The next build of a customer whose build gave up its slot; silent on claims and progress';
