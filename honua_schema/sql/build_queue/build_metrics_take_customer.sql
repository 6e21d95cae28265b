CREATE OR REPLACE TRIGGER build_metrics_take_customer
    BEFORE INSERT OR UPDATE OF build_queue_id, customer_id ON build_metrics
    FOR EACH ROW EXECUTE FUNCTION take_build_customer();

COMMENT ON TRIGGER build_metrics_take_customer ON build_metrics IS
    'A metric belongs to the customer of its build, whatever the caller says';
