CREATE OR REPLACE TRIGGER customers_update_updated_at
    BEFORE UPDATE ON customers
    FOR EACH ROW
    WHEN (NEW.updated_at = OLD.updated_at AND NEW.customer_number IS NOT DISTINCT FROM OLD.customer_number)
    EXECUTE FUNCTION update_updated_at_column();

COMMENT ON TRIGGER customers_update_updated_at ON customers IS
    'updated_at follows every change that does not set it itself, but for the number that a new customer is given';
