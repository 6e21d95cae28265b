CREATE OR REPLACE TRIGGER build_queue_update_updated_at
    BEFORE UPDATE ON build_queue
    FOR EACH ROW
    WHEN (NEW.updated_at = OLD.updated_at)
    EXECUTE FUNCTION update_updated_at_column();

COMMENT ON TRIGGER build_queue_update_updated_at ON build_queue IS
    'updated_at follows every change that does not set it itself';
