CREATE OR REPLACE TRIGGER build_queue_announce
    AFTER INSERT ON build_queue
    FOR EACH STATEMENT EXECUTE FUNCTION announce_builds();

COMMENT ON TRIGGER build_queue_announce ON build_queue IS 'New builds wake waiting workers';
