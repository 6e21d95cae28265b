CREATE OR REPLACE TRIGGER customers_update_updated_at
    BEFORE UPDATE ON customers
    FOR EACH ROW
    WHEN (NEW.updated_at = OLD.updated_at)
    EXECUTE FUNCTION update_updated_at_column();

COMMENT ON TRIGGER customers_update_updated_at ON customers IS
    'updated_at follows every change that does not set it itself';
