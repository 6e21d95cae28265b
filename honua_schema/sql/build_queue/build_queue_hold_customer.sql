-- Before the update, for afterwards other triggers may hold a licence, and who holds one does not wait for a build.
CREATE OR REPLACE TRIGGER build_queue_hold_customer
    BEFORE UPDATE OF customer_id ON build_queue
    FOR EACH ROW
    WHEN (OLD.customer_id <> NEW.customer_id)
    EXECUTE FUNCTION change_build_customer();

COMMENT ON TRIGGER build_queue_hold_customer ON build_queue IS
    'Nobody adds to a build while it changes hands';
