CREATE OR REPLACE TRIGGER build_events_take_customer
    BEFORE INSERT OR UPDATE OF build_queue_id, customer_id ON build_events
    FOR EACH ROW EXECUTE FUNCTION take_build_customer();

COMMENT ON TRIGGER build_events_take_customer ON build_events IS
    'An event belongs to the customer of its build, whatever the caller says';
