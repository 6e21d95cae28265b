CREATE OR REPLACE TRIGGER build_manifests_check_build
    BEFORE INSERT OR UPDATE OF deployment_id, customer_id ON build_manifests
    FOR EACH ROW
    WHEN (NEW.deployment_id IS NOT NULL AND NEW.customer_id IS NOT NULL)
    EXECUTE FUNCTION check_manifest_build();

COMMENT ON TRIGGER build_manifests_check_build ON build_manifests IS 'The build of a manifest is its customer''s own';
