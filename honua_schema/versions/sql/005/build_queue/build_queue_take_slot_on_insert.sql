CREATE OR REPLACE TRIGGER build_queue_take_slot_on_insert
    AFTER INSERT ON build_queue
    FOR EACH ROW
    WHEN (NEW.admission = 'waiting')
    EXECUTE FUNCTION free_build_slot();

COMMENT ON TRIGGER build_queue_take_slot_on_insert ON build_queue IS
    'A build that is inserted as building, or with a higher priority, takes a slot from one that is queued';
