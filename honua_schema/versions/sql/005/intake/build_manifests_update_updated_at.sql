CREATE OR REPLACE TRIGGER build_manifests_update_updated_at
    BEFORE UPDATE ON build_manifests
    FOR EACH ROW
    WHEN (NEW.updated_at = OLD.updated_at)
    EXECUTE FUNCTION update_updated_at_column();

COMMENT ON TRIGGER build_manifests_update_updated_at ON build_manifests IS
    'updated_at follows every change that does not set it itself';
