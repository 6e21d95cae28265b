CREATE OR REPLACE TRIGGER licenses_update_updated_at
    BEFORE UPDATE ON licenses
    FOR EACH ROW
    WHEN (NEW.updated_at = OLD.updated_at)
    EXECUTE FUNCTION update_updated_at_column();

COMMENT ON TRIGGER licenses_update_updated_at ON licenses IS
    'updated_at follows every change that does not set it itself';
