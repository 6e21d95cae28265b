CREATE OR REPLACE TRIGGER build_queue_validate_insert
    BEFORE INSERT ON build_queue
    FOR EACH ROW EXECUTE FUNCTION validate_build_queue_insert();

COMMENT ON TRIGGER build_queue_validate_insert ON build_queue IS
    'Licence, monthly quota and admission of a new build';
