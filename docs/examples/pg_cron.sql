-- The maintenance schedule as jobs of pg_cron, which calls the SQL functions itself: no other program is needed.
-- To be run once, in the database, by the owner of its tables; running it again changes the jobs. Times are UTC.
-- Each batch of 500 rows is a transaction of its own, so that no lock is held for long.
CREATE EXTENSION IF NOT EXISTS pg_cron;

SELECT cron.schedule('honua-timeouts', '* * * * *', $job$
    DO $$ BEGIN
        WHILE (SELECT count(*) FROM handle_build_timeouts(p_limit => 500)) = 500 LOOP COMMIT; END LOOP;
    END $$
$job$);

SELECT cron.schedule('honua-admission', '* * * * *', 'SELECT admit_waiting_builds()');

SELECT cron.schedule('honua-conversations', '0 */6 * * *', $job$
    DO $$ BEGIN
        WHILE (SELECT count(*) FROM expire_old_conversations(p_limit => 500)) = 500 LOOP COMMIT; END LOOP;
    END $$
$job$);

SELECT cron.schedule('honua-credentials', '10 3 * * *', $job$
    DO $$ BEGIN
        WHILE (SELECT count(*) FROM revoke_expired_credentials(p_limit => 500)) = 500 LOOP COMMIT; END LOOP;
    END $$
$job$);

SELECT cron.schedule('honua-licenses', '10 3 * * *', $job$
    DO $$ BEGIN
        WHILE (SELECT count(*) FROM expire_licenses(p_limit => 500)) = 500 LOOP COMMIT; END LOOP;
    END $$
$job$);

SELECT cron.schedule('honua-logs', '30 3 * * 0', $job$
    DO $$ BEGIN
        WHILE (SELECT deleted_count FROM cleanup_old_build_logs(p_limit => 500)) = 500 LOOP COMMIT; END LOOP;
    END $$
$job$);

-- The log tables are left to autovacuum here: a name would stand for all their partitions.
SELECT cron.schedule('honua-vacuum', '30 3 * * 0', $job$
    VACUUM (ANALYZE, SKIP_LOCKED) build_queue, build_cache_registry, conversations, conversation_messages
$job$);

-- 500 rows of each of four tables.
SELECT cron.schedule('honua-purge', '50 3 1 * *', $job$
    DO $$ BEGIN
        WHILE (SELECT sum(records_purged) FROM purge_soft_deleted_records(p_limit => 500)) >= 500 LOOP COMMIT; END LOOP;
    END $$
$job$);

SELECT cron.schedule('honua-partitions', '50 3 1 * *', 'SELECT ensure_log_partitions()');

-- pg_cron notes each run in a table that it never empties.
SELECT cron.schedule('honua-job-history', '10 3 * * *', $job$
    DELETE FROM cron.job_run_details WHERE end_time < now() - INTERVAL '7 days'
$job$);
