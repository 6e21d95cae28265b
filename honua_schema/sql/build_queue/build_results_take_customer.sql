CREATE OR REPLACE TRIGGER build_results_take_customer
    BEFORE INSERT ON build_results
    FOR EACH ROW
    WHEN (NEW.customer_id IS NULL)
    EXECUTE FUNCTION take_build_customer();

COMMENT ON TRIGGER build_results_take_customer ON build_results IS
    'A result belongs to the customer of its build; complete_build() says who that is';
