CREATE OR REPLACE TRIGGER build_queue_free_slot_on_delete
    AFTER DELETE ON build_queue
    FOR EACH ROW
    WHEN (OLD.status IN ('queued', 'building') AND OLD.admission = 'ready')
    EXECUTE FUNCTION free_build_slot();

COMMENT ON TRIGGER build_queue_free_slot_on_delete ON build_queue IS
    'The next build of a customer whose build was deleted';
