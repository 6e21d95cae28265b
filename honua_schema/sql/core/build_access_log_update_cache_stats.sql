CREATE OR REPLACE TRIGGER build_access_log_update_cache_stats
    AFTER INSERT ON build_access_log
    REFERENCING NEW TABLE AS new_accesses
    FOR EACH STATEMENT EXECUTE FUNCTION update_cache_stats();

COMMENT ON TRIGGER build_access_log_update_cache_stats ON build_access_log IS
    'Counters of the cache entries, kept once per statement: COPY and batches included';
