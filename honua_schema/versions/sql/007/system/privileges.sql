-- Made from privileges.toml.
-- Take back what may have been given before.
DO $$
DECLARE
    v_policy record;
BEGIN
    FOR v_policy IN
        SELECT p.polname, c.relname
        FROM pg_policy AS p
        JOIN pg_class AS c ON c.oid = p.polrelid
        WHERE c.relnamespace = to_regnamespace('public') AND p.polname LIKE 'honua\_%'
    LOOP
        EXECUTE format('DROP POLICY %I ON public.%I', v_policy.polname, v_policy.relname);
    END LOOP;
END;
$$;
ALTER TABLE customers DISABLE ROW LEVEL SECURITY;
ALTER TABLE licenses DISABLE ROW LEVEL SECURITY;
ALTER TABLE registry_credentials DISABLE ROW LEVEL SECURITY;
ALTER TABLE build_cache_registry DISABLE ROW LEVEL SECURITY;
ALTER TABLE build_access_log DISABLE ROW LEVEL SECURITY;
ALTER TABLE build_queue DISABLE ROW LEVEL SECURITY;
ALTER TABLE build_results DISABLE ROW LEVEL SECURITY;
ALTER TABLE build_artifacts DISABLE ROW LEVEL SECURITY;
ALTER TABLE build_events DISABLE ROW LEVEL SECURITY;
ALTER TABLE build_metrics DISABLE ROW LEVEL SECURITY;
ALTER TABLE conversations DISABLE ROW LEVEL SECURITY;
ALTER TABLE conversation_messages DISABLE ROW LEVEL SECURITY;
ALTER TABLE conversation_intents DISABLE ROW LEVEL SECURITY;
ALTER TABLE build_manifests DISABLE ROW LEVEL SECURITY;
ALTER TABLE requirement_extractions DISABLE ROW LEVEL SECURITY;
ALTER TABLE audit_log DISABLE ROW LEVEL SECURITY;
ALTER TABLE schema_migrations DISABLE ROW LEVEL SECURITY;
REVOKE ALL ON TABLE customers,
    licenses,
    registry_credentials,
    build_cache_registry,
    build_access_log,
    build_queue,
    build_results,
    build_artifacts,
    build_events,
    build_metrics,
    conversations,
    conversation_messages,
    conversation_intents,
    build_manifests,
    requirement_extractions,
    audit_log,
    schema_migrations,
    active_builds,
    active_conversations,
    build_performance_summary,
    cache_performance_summary,
    conversation_performance_summary,
    customer_build_usage,
    extraction_accuracy,
    intent_analytics FROM PUBLIC, honua_app, honua_maintenance, honua_readonly, honua_worker;
REVOKE ALL ON SEQUENCE audit_log_id_seq,
    build_access_log_id_seq,
    build_events_id_seq,
    build_metrics_id_seq,
    claim_bound_amd64_1,
    claim_bound_amd64_10,
    claim_bound_amd64_2,
    claim_bound_amd64_3,
    claim_bound_amd64_4,
    claim_bound_amd64_5,
    claim_bound_amd64_6,
    claim_bound_amd64_7,
    claim_bound_amd64_8,
    claim_bound_amd64_9,
    claim_bound_arm64_1,
    claim_bound_arm64_10,
    claim_bound_arm64_2,
    claim_bound_arm64_3,
    claim_bound_arm64_4,
    claim_bound_arm64_5,
    claim_bound_arm64_6,
    claim_bound_arm64_7,
    claim_bound_arm64_8,
    claim_bound_arm64_9,
    claim_bounds_due_at,
    conversation_intents_id_seq,
    conversation_messages_id_seq,
    customer_numbers FROM PUBLIC, honua_app, honua_maintenance, honua_readonly, honua_worker;
REVOKE ALL ON FUNCTION admit_builds,
    admit_waiting_builds,
    admitted_tiers,
    announce_builds,
    cancel_build,
    change_build_customer,
    change_build_limit,
    change_conversation_customer,
    check_manifest_build,
    claim_bound,
    cleanup_old_build_logs,
    complete_build,
    count_cache_accesses,
    drop_old_log_partitions,
    enforce_registry_limit,
    ensure_log_partitions,
    expire_licenses,
    expire_old_conversations,
    find_cached_build,
    find_license_customer,
    free_build_slot,
    get_build_registry_credential,
    get_cache_hit_rate,
    get_license_quota_usage,
    get_next_build_for_worker,
    give_customer_number,
    handle_build_timeouts,
    hash_audit_log,
    license_ends_at,
    lock_license,
    log_time_column,
    missing_log_months,
    lower_claim_bound,
    purge_soft_deleted_records,
    raise_claim_bounds,
    record_audit,
    record_build_audit,
    record_cache_access,
    refuse_audit_log_change,
    refuse_foreign_row,
    release_delayed_builds,
    requeue_build,
    retry_failed_build,
    revoke_expired_credentials,
    seal_audit_log,
    take_build_customer,
    take_conversation_customer,
    tier_rank,
    update_build_progress,
    update_cache_stats,
    update_conversation_stats,
    update_updated_at_column,
    validate_build_queue_insert,
    verify_audit_log,
    write_audit_log FROM PUBLIC, honua_app, honua_maintenance, honua_readonly, honua_worker;
REVOKE USAGE ON SCHEMA public FROM honua_app, honua_maintenance, honua_readonly, honua_worker;
-- Give.
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO honua_app, honua_maintenance, honua_readonly, honua_worker;

ALTER TABLE customers ENABLE ROW LEVEL SECURITY;
GRANT SELECT (id, customer_id, organization_name, contact_email, contact_name, subscription_status, tier, metadata, tags, created_at, updated_at, deleted_at), UPDATE (organization_name, contact_email, contact_name) ON TABLE customers TO honua_app;
CREATE POLICY honua_app_select ON customers FOR SELECT TO honua_app
    USING (customers.customer_id = (SELECT nullif(current_setting('honua.customer_id', true), '')));
CREATE POLICY honua_app_update ON customers FOR UPDATE TO honua_app
    USING (customers.customer_id = (SELECT nullif(current_setting('honua.customer_id', true), '')))
    WITH CHECK (customers.customer_id = (SELECT nullif(current_setting('honua.customer_id', true), '')));
GRANT SELECT ON TABLE customers TO honua_readonly;
CREATE POLICY honua_readonly_select ON customers FOR SELECT TO honua_readonly
    USING (true);

ALTER TABLE licenses ENABLE ROW LEVEL SECURITY;
GRANT SELECT ON TABLE licenses TO honua_app;
CREATE POLICY honua_app_select ON licenses FOR SELECT TO honua_app
    USING (licenses.customer_id = (SELECT nullif(current_setting('honua.customer_id', true), '')));
GRANT SELECT (id, customer_id, license_key), UPDATE (license_key) ON TABLE licenses TO honua_maintenance;
CREATE POLICY honua_maintenance_select ON licenses FOR SELECT TO honua_maintenance
    USING (true);
CREATE POLICY honua_maintenance_update ON licenses FOR UPDATE TO honua_maintenance
    USING (true)
    WITH CHECK (true);
GRANT SELECT (id, customer_id, tier, status, issued_at, expires_at, trial_expires_at, features, max_builds_per_month, max_registries, max_concurrent_builds, revoked_at, revoked_by, revoked_reason, created_at, updated_at) ON TABLE licenses TO honua_readonly;
CREATE POLICY honua_readonly_select ON licenses FOR SELECT TO honua_readonly
    USING (true);

ALTER TABLE registry_credentials ENABLE ROW LEVEL SECURITY;
GRANT SELECT, INSERT, UPDATE (registry_name, registry_url, registry_provider, username_encrypted, password_encrypted, encryption_key_id, is_default, is_active, last_validated_at, validation_status, validation_error, revoked_at), DELETE ON TABLE registry_credentials TO honua_app;
CREATE POLICY honua_app_select ON registry_credentials FOR SELECT TO honua_app
    USING (registry_credentials.customer_id = (SELECT nullif(current_setting('honua.customer_id', true), '')));
CREATE POLICY honua_app_insert ON registry_credentials FOR INSERT TO honua_app
    WITH CHECK (registry_credentials.customer_id = (SELECT nullif(current_setting('honua.customer_id', true), '')));
CREATE POLICY honua_app_update ON registry_credentials FOR UPDATE TO honua_app
    USING (registry_credentials.customer_id = (SELECT nullif(current_setting('honua.customer_id', true), '')))
    WITH CHECK (registry_credentials.customer_id = (SELECT nullif(current_setting('honua.customer_id', true), '')));
CREATE POLICY honua_app_delete ON registry_credentials FOR DELETE TO honua_app
    USING (registry_credentials.customer_id = (SELECT nullif(current_setting('honua.customer_id', true), '')));
GRANT SELECT (id, customer_id, username_encrypted, password_encrypted, encryption_key_id), UPDATE (username_encrypted, password_encrypted, encryption_key_id) ON TABLE registry_credentials TO honua_maintenance;
CREATE POLICY honua_maintenance_select ON registry_credentials FOR SELECT TO honua_maintenance
    USING (true);
CREATE POLICY honua_maintenance_update ON registry_credentials FOR UPDATE TO honua_maintenance
    USING (true)
    WITH CHECK (true);
GRANT SELECT (id, customer_id, registry_name, registry_url, registry_provider, encryption_key_id, is_default, is_active, last_validated_at, validation_status, created_at, updated_at, revoked_at) ON TABLE registry_credentials TO honua_readonly;
CREATE POLICY honua_readonly_select ON registry_credentials FOR SELECT TO honua_readonly
    USING (true);

ALTER TABLE build_cache_registry ENABLE ROW LEVEL SECURITY;
GRANT SELECT (id, manifest_hash, tier, registry_url, image_tag, full_image_url, modules, architecture, cloud_provider, cloud_compute, deployment_mode, first_built_at, build_duration_seconds, image_size_bytes, image_layers, expires_at, deleted_at, deletion_reason) ON TABLE build_cache_registry TO honua_app;
CREATE POLICY honua_app_select ON build_cache_registry FOR SELECT TO honua_app
    USING (build_cache_registry.deleted_at IS NULL AND build_cache_registry.tier = ANY ((SELECT admitted_tiers((SELECT nullif(current_setting('honua.customer_id', true), ''))))::varchar[]));
GRANT SELECT ON TABLE build_cache_registry TO honua_readonly;
CREATE POLICY honua_readonly_select ON build_cache_registry FOR SELECT TO honua_readonly
    USING (true);
GRANT SELECT (id, manifest_hash, tier, architecture, full_image_url, expires_at, deleted_at), INSERT (manifest_hash, tier, registry_url, image_tag, full_image_url, modules, architecture, cloud_provider, cloud_compute, deployment_mode, first_built_by_customer, build_duration_seconds, image_size_bytes, image_layers, last_accessed_at, manifest_json, expires_at, deleted_at, deletion_reason) ON TABLE build_cache_registry TO honua_worker;
CREATE POLICY honua_worker_select ON build_cache_registry FOR SELECT TO honua_worker
    USING (true);
CREATE POLICY honua_worker_insert ON build_cache_registry FOR INSERT TO honua_worker
    WITH CHECK (true);

ALTER TABLE build_access_log ENABLE ROW LEVEL SECURITY;
GRANT SELECT, INSERT (build_cache_id, customer_id, access_type, deployment_id, deployment_region, pull_duration_seconds, download_size_bytes, user_agent, ip_address) ON TABLE build_access_log TO honua_app;
CREATE POLICY honua_app_select ON build_access_log FOR SELECT TO honua_app
    USING (build_access_log.customer_id = (SELECT nullif(current_setting('honua.customer_id', true), '')));
CREATE POLICY honua_app_insert ON build_access_log FOR INSERT TO honua_app
    WITH CHECK (build_access_log.customer_id = (SELECT nullif(current_setting('honua.customer_id', true), '')) AND (build_access_log.build_cache_id IS NULL OR EXISTS (SELECT FROM build_cache_registry AS e WHERE e.id = build_access_log.build_cache_id)));
GRANT SELECT ON TABLE build_access_log TO honua_readonly;
CREATE POLICY honua_readonly_select ON build_access_log FOR SELECT TO honua_readonly
    USING (true);

ALTER TABLE build_queue ENABLE ROW LEVEL SECURITY;
GRANT SELECT, INSERT (customer_id, manifest_path, manifest_hash, manifest_json, priority, queued_at, started_at, completed_at, timeout_at, current_step, total_steps, worker_id, worker_hostname, worker_assigned_at, target_registry_id, architecture, build_args, estimated_duration_seconds, max_duration_seconds, estimated_memory_mb, estimated_cpu_cores, max_retries, last_retry_at, heartbeat_at, idempotency_key), UPDATE (status, completed_at, updated_at) ON TABLE build_queue TO honua_app;
CREATE POLICY honua_app_select ON build_queue FOR SELECT TO honua_app
    USING (build_queue.customer_id = (SELECT nullif(current_setting('honua.customer_id', true), '')));
CREATE POLICY honua_app_insert ON build_queue FOR INSERT TO honua_app
    WITH CHECK (build_queue.customer_id = (SELECT nullif(current_setting('honua.customer_id', true), '')) AND build_queue.queued_at BETWEEN now() AND now() + interval '1 year' AND num_nonnulls(build_queue.started_at, build_queue.completed_at, build_queue.timeout_at, build_queue.current_step, build_queue.worker_id, build_queue.worker_hostname, build_queue.worker_assigned_at, build_queue.last_retry_at, build_queue.heartbeat_at) = 0);
CREATE POLICY honua_app_update ON build_queue FOR UPDATE TO honua_app
    USING (build_queue.customer_id = (SELECT nullif(current_setting('honua.customer_id', true), '')) AND build_queue.status IN ('queued', 'building'))
    WITH CHECK (build_queue.customer_id = (SELECT nullif(current_setting('honua.customer_id', true), '')) AND build_queue.status = 'cancelled' AND build_queue.completed_at BETWEEN now() AND clock_timestamp());
GRANT SELECT (id, customer_id, status, worker_id, retry_count), UPDATE (status, completed_at, updated_at) ON TABLE build_queue TO honua_maintenance;
CREATE POLICY honua_maintenance_select ON build_queue FOR SELECT TO honua_maintenance
    USING (true);
CREATE POLICY honua_maintenance_update ON build_queue FOR UPDATE TO honua_maintenance
    USING (build_queue.status IN ('queued', 'building'))
    WITH CHECK (build_queue.status = 'cancelled');
GRANT SELECT ON TABLE build_queue TO honua_readonly;
CREATE POLICY honua_readonly_select ON build_queue FOR SELECT TO honua_readonly
    USING (true);

ALTER TABLE build_results ENABLE ROW LEVEL SECURITY;
GRANT SELECT ON TABLE build_results TO honua_app;
CREATE POLICY honua_app_select ON build_results FOR SELECT TO honua_app
    USING (coalesce(build_results.customer_id = (SELECT nullif(current_setting('honua.customer_id', true), '')), false));
GRANT SELECT ON TABLE build_results TO honua_readonly;
CREATE POLICY honua_readonly_select ON build_results FOR SELECT TO honua_readonly
    USING (true);

ALTER TABLE build_artifacts ENABLE ROW LEVEL SECURITY;
GRANT SELECT ON TABLE build_artifacts TO honua_app;
CREATE POLICY honua_app_select ON build_artifacts FOR SELECT TO honua_app
    USING (EXISTS (SELECT FROM build_results AS r WHERE r.id = build_artifacts.build_result_id));
GRANT SELECT ON TABLE build_artifacts TO honua_readonly;
CREATE POLICY honua_readonly_select ON build_artifacts FOR SELECT TO honua_readonly
    USING (true);
GRANT INSERT (build_result_id, artifact_type, artifact_name, storage_type, storage_url, storage_path, size_bytes, content_type, checksum_sha256, metadata, expires_at, deleted_at) ON TABLE build_artifacts TO honua_worker;
CREATE POLICY honua_worker_insert ON build_artifacts FOR INSERT TO honua_worker
    WITH CHECK (true);

ALTER TABLE build_events ENABLE ROW LEVEL SECURITY;
GRANT SELECT, INSERT (build_queue_id, event_type, event_timestamp, event_data, source, severity, message) ON TABLE build_events TO honua_app;
CREATE POLICY honua_app_select ON build_events FOR SELECT TO honua_app
    USING (coalesce(build_events.customer_id = (SELECT nullif(current_setting('honua.customer_id', true), '')), false));
CREATE POLICY honua_app_insert ON build_events FOR INSERT TO honua_app
    WITH CHECK (coalesce(build_events.customer_id = (SELECT nullif(current_setting('honua.customer_id', true), '')), false) AND build_events.event_timestamp >= now() - interval '1 month' AND build_events.event_timestamp < now() + interval '1 month');
GRANT INSERT (build_queue_id, event_type, event_timestamp, event_data, source, severity, message) ON TABLE build_events TO honua_maintenance;
CREATE POLICY honua_maintenance_insert ON build_events FOR INSERT TO honua_maintenance
    WITH CHECK (true);
GRANT SELECT ON TABLE build_events TO honua_readonly;
CREATE POLICY honua_readonly_select ON build_events FOR SELECT TO honua_readonly
    USING (true);
GRANT INSERT (build_queue_id, event_type, event_timestamp, event_data, source, severity, message) ON TABLE build_events TO honua_worker;
CREATE POLICY honua_worker_insert ON build_events FOR INSERT TO honua_worker
    WITH CHECK (true);

ALTER TABLE build_metrics ENABLE ROW LEVEL SECURITY;
GRANT SELECT ON TABLE build_metrics TO honua_app;
CREATE POLICY honua_app_select ON build_metrics FOR SELECT TO honua_app
    USING (coalesce(build_metrics.customer_id = (SELECT nullif(current_setting('honua.customer_id', true), '')), false));
GRANT SELECT ON TABLE build_metrics TO honua_readonly;
CREATE POLICY honua_readonly_select ON build_metrics FOR SELECT TO honua_readonly
    USING (true);
GRANT INSERT (build_queue_id, metric_name, metric_value, metric_unit, metric_timestamp, tags) ON TABLE build_metrics TO honua_worker;
CREATE POLICY honua_worker_insert ON build_metrics FOR INSERT TO honua_worker
    WITH CHECK (true);

ALTER TABLE conversations ENABLE ROW LEVEL SECURITY;
GRANT SELECT, INSERT (customer_id, customer_email, session_id, status, conversation_type, ai_model, ai_provider, build_manifest_id, extracted_requirements, confidence_score, completed_at, last_message_at, abandoned_at, total_cost_usd, user_agent, ip_address, referrer, locale, user_satisfaction_score, user_feedback, feedback_at), UPDATE (customer_email, session_id, status, conversation_type, ai_model, ai_provider, build_manifest_id, extracted_requirements, confidence_score, completed_at, abandoned_at, total_cost_usd, locale, user_satisfaction_score, user_feedback, feedback_at) ON TABLE conversations TO honua_app;
CREATE POLICY honua_app_select ON conversations FOR SELECT TO honua_app
    USING (conversations.customer_id = (SELECT nullif(current_setting('honua.customer_id', true), '')));
CREATE POLICY honua_app_insert ON conversations FOR INSERT TO honua_app
    WITH CHECK (conversations.customer_id = (SELECT nullif(current_setting('honua.customer_id', true), '')) AND conversations.last_message_at IS NULL AND (conversations.build_manifest_id IS NULL OR EXISTS (SELECT FROM build_manifests AS m WHERE m.id = conversations.build_manifest_id)));
CREATE POLICY honua_app_update ON conversations FOR UPDATE TO honua_app
    USING (conversations.customer_id = (SELECT nullif(current_setting('honua.customer_id', true), '')))
    WITH CHECK (conversations.customer_id = (SELECT nullif(current_setting('honua.customer_id', true), '')) AND (conversations.build_manifest_id IS NULL OR EXISTS (SELECT FROM build_manifests AS m WHERE m.id = conversations.build_manifest_id)));
GRANT SELECT ON TABLE conversations TO honua_readonly;
CREATE POLICY honua_readonly_select ON conversations FOR SELECT TO honua_readonly
    USING (true);

ALTER TABLE conversation_messages ENABLE ROW LEVEL SECURITY;
GRANT SELECT, INSERT (conversation_id, role, content, content_type, sequence_number, function_name, function_arguments, function_response, prompt_tokens, completion_tokens, total_tokens, model_used, temperature, finish_reason, processing_time_ms) ON TABLE conversation_messages TO honua_app;
CREATE POLICY honua_app_select ON conversation_messages FOR SELECT TO honua_app
    USING (coalesce(conversation_messages.customer_id = (SELECT nullif(current_setting('honua.customer_id', true), '')), false));
CREATE POLICY honua_app_insert ON conversation_messages FOR INSERT TO honua_app
    WITH CHECK (coalesce(conversation_messages.customer_id = (SELECT nullif(current_setting('honua.customer_id', true), '')), false));
GRANT SELECT ON TABLE conversation_messages TO honua_readonly;
CREATE POLICY honua_readonly_select ON conversation_messages FOR SELECT TO honua_readonly
    USING (true);

ALTER TABLE conversation_intents ENABLE ROW LEVEL SECURITY;
GRANT SELECT, INSERT (conversation_id, message_id, intent_type, intent_confidence, intent_parameters, detected_by, detected_at) ON TABLE conversation_intents TO honua_app;
CREATE POLICY honua_app_select ON conversation_intents FOR SELECT TO honua_app
    USING (EXISTS (SELECT FROM conversations AS c WHERE c.id = conversation_intents.conversation_id));
CREATE POLICY honua_app_insert ON conversation_intents FOR INSERT TO honua_app
    WITH CHECK (EXISTS (SELECT FROM conversations AS c WHERE c.id = conversation_intents.conversation_id) AND (conversation_intents.message_id IS NULL OR EXISTS (SELECT FROM conversation_messages AS m WHERE m.id = conversation_intents.message_id)));
GRANT SELECT ON TABLE conversation_intents TO honua_readonly;
CREATE POLICY honua_readonly_select ON conversation_intents FOR SELECT TO honua_readonly
    USING (true);

ALTER TABLE build_manifests ENABLE ROW LEVEL SECURITY;
GRANT SELECT, INSERT (customer_id, customer_email, manifest_json, manifest_hash, manifest_version, manifest_format, generated_by, generation_method, is_validated, validation_errors, validated_at, validated_by, deployment_status, deployed_at, deployment_id, build_cache_id, deleted_at), UPDATE (customer_email, manifest_json, manifest_hash, manifest_version, manifest_format, generation_method, is_validated, validation_errors, validated_at, validated_by, deployment_status, deployed_at, deployment_id, build_cache_id, deleted_at) ON TABLE build_manifests TO honua_app;
CREATE POLICY honua_app_select ON build_manifests FOR SELECT TO honua_app
    USING (build_manifests.customer_id = (SELECT nullif(current_setting('honua.customer_id', true), '')));
CREATE POLICY honua_app_insert ON build_manifests FOR INSERT TO honua_app
    WITH CHECK (build_manifests.customer_id = (SELECT nullif(current_setting('honua.customer_id', true), '')) AND (build_manifests.build_cache_id IS NULL OR EXISTS (SELECT FROM build_cache_registry AS e WHERE e.id = build_manifests.build_cache_id)));
CREATE POLICY honua_app_update ON build_manifests FOR UPDATE TO honua_app
    USING (build_manifests.customer_id = (SELECT nullif(current_setting('honua.customer_id', true), '')))
    WITH CHECK (build_manifests.customer_id = (SELECT nullif(current_setting('honua.customer_id', true), '')) AND (build_manifests.build_cache_id IS NULL OR EXISTS (SELECT FROM build_cache_registry AS e WHERE e.id = build_manifests.build_cache_id)));
GRANT SELECT ON TABLE build_manifests TO honua_readonly;
CREATE POLICY honua_readonly_select ON build_manifests FOR SELECT TO honua_readonly
    USING (true);

ALTER TABLE requirement_extractions ENABLE ROW LEVEL SECURITY;
GRANT SELECT, INSERT (conversation_id, build_manifest_id, requirement_type, requirement_value, requirement_json, extracted_from_message_id, extraction_method, extraction_confidence, confirmed_at, confirmation_source, corrected_value, corrected_at), UPDATE (build_manifest_id, is_confirmed, confirmed_at, confirmation_source, was_corrected, corrected_value, corrected_at) ON TABLE requirement_extractions TO honua_app;
CREATE POLICY honua_app_select ON requirement_extractions FOR SELECT TO honua_app
    USING (EXISTS (SELECT FROM conversations AS c WHERE c.id = requirement_extractions.conversation_id));
CREATE POLICY honua_app_insert ON requirement_extractions FOR INSERT TO honua_app
    WITH CHECK (EXISTS (SELECT FROM conversations AS c WHERE c.id = requirement_extractions.conversation_id) AND (requirement_extractions.build_manifest_id IS NULL OR EXISTS (SELECT FROM build_manifests AS m WHERE m.id = requirement_extractions.build_manifest_id)) AND (requirement_extractions.extracted_from_message_id IS NULL OR EXISTS (SELECT FROM conversation_messages AS m WHERE m.id = requirement_extractions.extracted_from_message_id)));
CREATE POLICY honua_app_update ON requirement_extractions FOR UPDATE TO honua_app
    USING (EXISTS (SELECT FROM conversations AS c WHERE c.id = requirement_extractions.conversation_id))
    WITH CHECK (EXISTS (SELECT FROM conversations AS c WHERE c.id = requirement_extractions.conversation_id) AND (requirement_extractions.build_manifest_id IS NULL OR EXISTS (SELECT FROM build_manifests AS m WHERE m.id = requirement_extractions.build_manifest_id)));
GRANT SELECT ON TABLE requirement_extractions TO honua_readonly;
CREATE POLICY honua_readonly_select ON requirement_extractions FOR SELECT TO honua_readonly
    USING (true);

ALTER TABLE audit_log ENABLE ROW LEVEL SECURITY;
GRANT SELECT ON TABLE audit_log TO honua_maintenance;
CREATE POLICY honua_maintenance_select ON audit_log FOR SELECT TO honua_maintenance
    USING (true);
GRANT SELECT ON TABLE audit_log TO honua_readonly;
CREATE POLICY honua_readonly_select ON audit_log FOR SELECT TO honua_readonly
    USING (true);

ALTER TABLE schema_migrations ENABLE ROW LEVEL SECURITY;
GRANT SELECT ON TABLE schema_migrations TO honua_app;
CREATE POLICY honua_app_select ON schema_migrations FOR SELECT TO honua_app
    USING (true);
GRANT SELECT ON TABLE schema_migrations TO honua_maintenance;
CREATE POLICY honua_maintenance_select ON schema_migrations FOR SELECT TO honua_maintenance
    USING (true);
GRANT SELECT ON TABLE schema_migrations TO honua_readonly;
CREATE POLICY honua_readonly_select ON schema_migrations FOR SELECT TO honua_readonly
    USING (true);
GRANT SELECT ON TABLE schema_migrations TO honua_worker;
CREATE POLICY honua_worker_select ON schema_migrations FOR SELECT TO honua_worker
    USING (true);

GRANT SELECT ON TABLE active_builds TO honua_app, honua_readonly;
GRANT SELECT ON TABLE active_conversations TO honua_app, honua_readonly;
GRANT SELECT ON TABLE build_performance_summary TO honua_app, honua_readonly;
GRANT SELECT ON TABLE cache_performance_summary TO honua_app, honua_readonly;
GRANT SELECT ON TABLE conversation_performance_summary TO honua_app, honua_readonly;
GRANT SELECT ON TABLE customer_build_usage TO honua_app, honua_readonly;
GRANT SELECT ON TABLE extraction_accuracy TO honua_app, honua_readonly;
GRANT SELECT ON TABLE intent_analytics TO honua_app, honua_readonly;
GRANT USAGE ON SEQUENCE build_access_log_id_seq TO honua_app;
GRANT USAGE ON SEQUENCE build_events_id_seq TO honua_app, honua_maintenance, honua_worker;
GRANT USAGE ON SEQUENCE build_metrics_id_seq TO honua_worker;
GRANT USAGE ON SEQUENCE conversation_intents_id_seq TO honua_app;
GRANT USAGE ON SEQUENCE conversation_messages_id_seq TO honua_app;
GRANT EXECUTE ON FUNCTION admit_builds TO honua_maintenance;
GRANT EXECUTE ON FUNCTION admit_waiting_builds TO honua_maintenance;
GRANT EXECUTE ON FUNCTION admitted_tiers TO honua_app;
GRANT EXECUTE ON FUNCTION cancel_build TO honua_app, honua_maintenance;
GRANT EXECUTE ON FUNCTION cleanup_old_build_logs TO honua_maintenance;
GRANT EXECUTE ON FUNCTION complete_build TO honua_worker;
GRANT EXECUTE ON FUNCTION drop_old_log_partitions TO honua_maintenance;
GRANT EXECUTE ON FUNCTION ensure_log_partitions TO honua_maintenance;
GRANT EXECUTE ON FUNCTION expire_licenses TO honua_maintenance;
GRANT EXECUTE ON FUNCTION expire_old_conversations TO honua_maintenance;
GRANT EXECUTE ON FUNCTION find_cached_build TO honua_app;
GRANT EXECUTE ON FUNCTION find_license_customer TO honua_app;
GRANT EXECUTE ON FUNCTION get_build_registry_credential TO honua_worker;
GRANT EXECUTE ON FUNCTION get_cache_hit_rate TO honua_app, honua_readonly;
GRANT EXECUTE ON FUNCTION get_license_quota_usage TO honua_app, honua_readonly;
GRANT EXECUTE ON FUNCTION get_next_build_for_worker TO honua_worker;
GRANT EXECUTE ON FUNCTION handle_build_timeouts TO honua_maintenance;
GRANT EXECUTE ON FUNCTION license_ends_at TO honua_app;
GRANT EXECUTE ON FUNCTION purge_soft_deleted_records TO honua_maintenance;
GRANT EXECUTE ON FUNCTION record_cache_access TO honua_app;
GRANT EXECUTE ON FUNCTION release_delayed_builds TO honua_maintenance;
GRANT EXECUTE ON FUNCTION retry_failed_build TO honua_maintenance, honua_worker;
GRANT EXECUTE ON FUNCTION revoke_expired_credentials TO honua_maintenance;
GRANT EXECUTE ON FUNCTION seal_audit_log TO honua_maintenance;
GRANT EXECUTE ON FUNCTION tier_rank TO honua_app;
GRANT EXECUTE ON FUNCTION update_build_progress TO honua_worker;
GRANT EXECUTE ON FUNCTION verify_audit_log TO honua_maintenance, honua_readonly;
