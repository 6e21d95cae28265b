CREATE OR REPLACE TRIGGER registry_credentials_update_updated_at
    BEFORE UPDATE ON registry_credentials
    FOR EACH ROW
    WHEN (NEW.updated_at = OLD.updated_at)
    EXECUTE FUNCTION update_updated_at_column();

COMMENT ON TRIGGER registry_credentials_update_updated_at ON registry_credentials IS
    'updated_at follows every change that does not set it itself';
