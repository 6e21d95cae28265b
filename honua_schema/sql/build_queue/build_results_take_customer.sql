CREATE OR REPLACE TRIGGER build_results_take_customer
    BEFORE INSERT OR UPDATE OF build_queue_id, customer_id ON build_results
    FOR EACH ROW EXECUTE FUNCTION take_build_customer();

COMMENT ON TRIGGER build_results_take_customer ON build_results IS
    'A result belongs to the customer of its build';
