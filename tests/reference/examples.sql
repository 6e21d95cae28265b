-- admit_builds
SELECT admit_builds('atlas');

-- admit_waiting_builds
SELECT admit_waiting_builds();

-- admitted_tiers
SELECT admitted_tiers('atlas');

-- cancel_build
SELECT cancel_build('5d2f7c1e-8a34-4b6f-9c0d-3e1a7b9f2c48', 'ordered twice');

-- claim_bound
SELECT claim_bound('amd64', 5) < now();

-- cleanup_old_build_logs
SELECT deleted_count FROM cleanup_old_build_logs(p_retention_days => 30, p_limit => 500);

-- complete_build
SELECT complete_build(
    p_build_id => '5d2f7c1e-8a34-4b6f-9c0d-3e1a7b9f2c48',
    p_worker_id => 'worker-1',
    p_retry_count => 0,
    p_success => true,
    p_actual_duration_seconds => 412.5,
    p_exit_code => 0,
    p_image_tags => ARRAY['atlas/server:1.4'],
    p_pushed_to_registry => true
);

-- count_cache_accesses
SELECT count_cache_accesses(e.id, 1, now(), ARRAY[c.customer_number])
FROM build_cache_registry AS e
JOIN customers AS c ON c.customer_id = 'atlas'
ORDER BY e.manifest_hash
LIMIT 1;

-- drop_old_log_partitions
SELECT partition_name, bytes_freed FROM drop_old_log_partitions('build_metrics', 12);

-- ensure_log_partitions
SELECT table_name, partition_name FROM ensure_log_partitions(p_months_ahead => 6);

-- expire_licenses
SELECT customer_id, expired_at FROM expire_licenses();

-- expire_old_conversations
SELECT conversation_id, customer_email FROM expire_old_conversations(p_inactive_hours => 48);

-- find_cached_build
SELECT full_image_url, tier
FROM find_cached_build('atlas', '0f343b0931126a20f133d67c2b018a3b', 'amd64');

-- find_license_customer
SELECT find_license_customer(encode(sha256('the licence key'), 'hex'));

-- get_build_registry_credential
SELECT registry_url, username_encrypted, password_encrypted
FROM get_build_registry_credential('5d2f7c1e-8a34-4b6f-9c0d-3e1a7b9f2c48', 'worker-1', 0);

-- get_cache_hit_rate
SELECT cache_hits, cache_misses, hit_rate_percent FROM get_cache_hit_rate('atlas', p_days => 7);

-- get_license_quota_usage
SELECT builds_this_month, remaining_builds, quota_utilization_percent
FROM get_license_quota_usage('atlas');

-- get_next_build_for_worker
SELECT build_id, retry_count, manifest_json, timeout_at
FROM get_next_build_for_worker('worker-2', 'host-2', 'amd64');

-- handle_build_timeouts
SELECT build_id, worker_id FROM handle_build_timeouts(p_heartbeat_seconds => 300);

-- hash_audit_log
SELECT records, sha256
FROM hash_audit_log(0, 1000, date_trunc('month', now() AT TIME ZONE 'UTC')::date, NULL);

-- license_ends_at
SELECT l.customer_id, license_ends_at(l) FROM licenses AS l ORDER BY 2;

-- lock_license
SELECT (lock_license('atlas')).max_concurrent_builds;

-- log_time_column
SELECT log_time_column('build_events');

-- lower_claim_bound
SELECT raise_claim_bounds(false) AS heeded, lower_claim_bound('amd64', 5, now() - interval '1 hour') AS lowered;

-- missing_log_months
SELECT missing_log_months('build_events', 3);

-- purge_soft_deleted_records
SELECT table_name, records_purged FROM purge_soft_deleted_records(p_purge_after_days => 60, p_limit => 500);

-- raise_claim_bounds
SELECT raise_claim_bounds(p_anew => true) AS heeded, claim_bound('amd64', 5) AS bound;

-- record_cache_access
SELECT record_cache_access(
    p_build_cache_id => NULL,
    p_customer_id => 'system',
    p_access_type => 'cache_miss',
    p_deployment_region => 'eu-central-1'
);

-- release_delayed_builds
SELECT release_delayed_builds();

-- retry_failed_build
SELECT retry_failed_build('9b8e6a40-2c7d-4f15-8e3b-6d0a4c5f1e72', p_delay => INTERVAL '5 minutes');

-- revoke_expired_credentials
SELECT customer_id, registry_name FROM revoke_expired_credentials(p_invalid_days => 14);

-- seal_audit_log
SELECT last_id, records, sha256 FROM seal_audit_log();

-- tier_rank
SELECT tier_rank('pro');

-- update_build_progress
SELECT update_build_progress(
    p_build_id => '5d2f7c1e-8a34-4b6f-9c0d-3e1a7b9f2c48',
    p_progress_percent => 40,
    p_current_step => 'compile',
    p_worker_id => 'worker-1',
    p_retry_count => 0
);

-- verify_audit_log
SELECT seal_id, records, state FROM verify_audit_log();

-- write_audit_log
SELECT write_audit_log('licenses', 'UPDATE', to_jsonb(l), to_jsonb(l) || '{"tier": "core"}', ARRAY['tier'])
FROM licenses AS l
WHERE l.customer_id = 'atlas';
