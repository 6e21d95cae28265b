CREATE OR REPLACE TRIGGER conversations_update_updated_at
    BEFORE UPDATE ON conversations
    FOR EACH ROW
    WHEN (NEW.updated_at = OLD.updated_at)
    EXECUTE FUNCTION update_updated_at_column();

COMMENT ON TRIGGER conversations_update_updated_at ON conversations IS
    'updated_at follows every change that does not set it itself';
