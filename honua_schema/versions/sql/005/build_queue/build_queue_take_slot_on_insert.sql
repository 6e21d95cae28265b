CREATE OR REPLACE TRIGGER build_queue_take_slot_on_insert
    AFTER INSERT ON build_queue
    FOR EACH ROW
    WHEN (NEW.status = 'building')
    EXECUTE FUNCTION free_build_slot();

COMMENT ON TRIGGER build_queue_take_slot_on_insert ON build_queue IS
    'A build that is inserted as building takes a slot from a queued one';
