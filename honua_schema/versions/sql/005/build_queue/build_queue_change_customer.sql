CREATE OR REPLACE TRIGGER build_queue_change_customer
    AFTER UPDATE OF customer_id ON build_queue
    FOR EACH ROW
    WHEN (OLD.customer_id <> NEW.customer_id)
    EXECUTE FUNCTION change_build_customer();

COMMENT ON TRIGGER build_queue_change_customer ON build_queue IS
    'The result, the events and the metrics of a build that changes hands go with it';
