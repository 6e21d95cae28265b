CREATE OR REPLACE TRIGGER build_queue_check_manifest
    BEFORE UPDATE OF customer_id ON build_queue
    FOR EACH ROW
    WHEN (OLD.customer_id <> NEW.customer_id)
    EXECUTE FUNCTION check_manifest_build();

COMMENT ON TRIGGER build_queue_check_manifest ON build_queue IS
    'A build that a manifest points at stays its customer''s';
