CREATE OR REPLACE TRIGGER licenses_change_build_limit
    AFTER INSERT OR DELETE OR UPDATE OF max_concurrent_builds, customer_id ON licenses
    FOR EACH ROW EXECUTE FUNCTION change_build_limit();

COMMENT ON TRIGGER licenses_change_build_limit ON licenses IS
    'Queued builds follow a change of max_concurrent_builds at once';
