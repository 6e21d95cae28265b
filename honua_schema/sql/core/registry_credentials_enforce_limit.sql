CREATE OR REPLACE TRIGGER registry_credentials_enforce_limit
    BEFORE INSERT OR UPDATE OF is_active, revoked_at, customer_id ON registry_credentials
    FOR EACH ROW
    WHEN (NEW.is_active AND NEW.revoked_at IS NULL)
    EXECUTE FUNCTION enforce_registry_limit();

COMMENT ON TRIGGER registry_credentials_enforce_limit ON registry_credentials IS
    'The licence''s max_registries, whenever a credential comes into use';
