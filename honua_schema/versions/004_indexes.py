"""One index for each access path, and none besides.

- Locks: writers wait while an index is built; on a new database there is nothing to build.
- Online: yes; indexes change no answer.
- Data: none is lost either way.

Revision: 004
Revises: 003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "004"
down_revision = "003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the indexes; the models say which query each one serves."""
    op.create_index("ix_customers_contact_email", "customers", ["contact_email"], unique=False)
    op.create_index(
        "ix_customers_deleted_at",
        "customers",
        ["deleted_at"],
        unique=False,
        postgresql_where="deleted_at IS NOT NULL",
    )
    op.create_index(
        "ix_customers_metadata",
        "customers",
        ["metadata"],
        unique=False,
        postgresql_using="gin",
        postgresql_ops={"metadata": "jsonb_path_ops"},
    )
    op.create_index("ix_customers_tags", "customers", ["tags"], unique=False, postgresql_using="gin")
    op.create_index(
        "ix_customers_tier_subscription_status",
        "customers",
        ["tier", "subscription_status"],
        unique=False,
        postgresql_where="deleted_at IS NULL",
    )
    op.create_index(
        "ix_licenses_expires_at",
        "licenses",
        ["expires_at"],
        unique=False,
        postgresql_where="status IN ('active', 'trial')",
    )
    op.create_index(
        "ix_licenses_features",
        "licenses",
        ["features"],
        unique=False,
        postgresql_using="gin",
        postgresql_ops={"features": "jsonb_path_ops"},
    )
    op.create_index(
        "ix_licenses_trial_expires_at",
        "licenses",
        ["trial_expires_at"],
        unique=False,
        postgresql_where="status = 'trial'",
    )
    op.create_index(
        "ix_registry_credentials_encryption_key_id",
        "registry_credentials",
        ["encryption_key_id"],
        unique=False,
    )
    op.create_index(
        "ix_registry_credentials_invalid",
        "registry_credentials",
        ["last_validated_at"],
        unique=False,
        postgresql_where="validation_status = 'invalid' AND revoked_at IS NULL",
    )
    op.create_index(
        "uq_registry_credentials_live_default",
        "registry_credentials",
        ["customer_id"],
        unique=True,
        postgresql_where="is_default AND revoked_at IS NULL",
    )
    op.create_index(
        "ix_build_cache_registry_deleted_at",
        "build_cache_registry",
        ["deleted_at"],
        unique=False,
        postgresql_where="deleted_at IS NOT NULL",
    )
    op.create_index(
        "ix_build_cache_registry_expires_at",
        "build_cache_registry",
        ["expires_at"],
        unique=False,
        postgresql_where="deleted_at IS NULL AND expires_at IS NOT NULL",
    )
    op.create_index(
        "ix_build_cache_registry_first_built_at", "build_cache_registry", ["first_built_at"], unique=False
    )
    op.create_index(
        "ix_build_cache_registry_first_built_by_customer",
        "build_cache_registry",
        ["first_built_by_customer"],
        unique=False,
        postgresql_where="first_built_by_customer IS NOT NULL",
    )
    op.create_index(
        "ix_build_cache_registry_manifest_json",
        "build_cache_registry",
        ["manifest_json"],
        unique=False,
        postgresql_using="gin",
        postgresql_ops={"manifest_json": "jsonb_path_ops"},
    )
    op.create_index(
        "ix_build_cache_registry_modules",
        "build_cache_registry",
        ["modules"],
        unique=False,
        postgresql_using="gin",
    )
    op.create_index(
        "ix_build_cache_registry_target",
        "build_cache_registry",
        ["cloud_provider", "cloud_compute", "architecture"],
        unique=False,
        postgresql_where="deleted_at IS NULL",
    )
    op.create_index(
        "uq_build_cache_registry_live_entry",
        "build_cache_registry",
        ["manifest_hash", "tier", "architecture"],
        unique=True,
        postgresql_where="deleted_at IS NULL",
    )
    op.create_index(
        "ix_build_access_log_accessed_at",
        "build_access_log",
        ["accessed_at"],
        unique=False,
        postgresql_using="brin",
    )
    op.create_index(
        "ix_build_access_log_build_cache_id",
        "build_access_log",
        ["build_cache_id"],
        unique=False,
    )
    op.create_index(
        "ix_build_access_log_customer_id",
        "build_access_log",
        ["customer_id", "accessed_at"],
        unique=False,
    )
    op.create_index(
        "ix_build_queue_claim",
        "build_queue",
        ["architecture", sa.literal_column("priority DESC"), "queued_at"],
        unique=False,
        postgresql_with={"deduplicate_items": "off"},
        postgresql_where="status = 'queued' AND admission = 'ready'",
    )
    op.create_index(
        "ix_build_queue_completed_at",
        "build_queue",
        ["completed_at"],
        unique=False,
        postgresql_where="completed_at IS NOT NULL",
    )
    op.create_index("ix_build_queue_customer_id", "build_queue", ["customer_id", "queued_at"], unique=False)
    op.create_index(
        "ix_build_queue_delayed",
        "build_queue",
        ["queued_at"],
        unique=False,
        postgresql_where="status = 'queued' AND admission = 'delayed'",
    )
    op.create_index(
        "ix_build_queue_slots",
        "build_queue",
        ["customer_id"],
        unique=False,
        postgresql_where="status IN ('queued', 'building') AND admission = 'ready'",
    )
    op.create_index(
        "ix_build_queue_target_registry_id",
        "build_queue",
        ["target_registry_id", "customer_id"],
        unique=False,
        postgresql_where="target_registry_id IS NOT NULL",
    )
    op.create_index(
        "ix_build_queue_timeout_at",
        "build_queue",
        ["timeout_at"],
        unique=False,
        postgresql_where="status = 'building'",
    )
    op.create_index(
        "ix_build_queue_waiting",
        "build_queue",
        ["customer_id", sa.literal_column("priority DESC"), "queued_at"],
        unique=False,
        postgresql_where="status = 'queued' AND admission = 'waiting'",
    )
    op.create_index(
        "uq_build_queue_idempotency_key",
        "build_queue",
        ["customer_id", "idempotency_key"],
        unique=True,
        postgresql_where="idempotency_key IS NOT NULL",
    )
    op.create_index(
        "ix_build_results_build_cache_id",
        "build_results",
        ["build_cache_id"],
        unique=False,
        postgresql_where="build_cache_id IS NOT NULL",
    )
    op.create_index("ix_build_results_created_at", "build_results", ["created_at"], unique=False)
    op.create_index(
        "ix_build_results_error_code",
        "build_results",
        ["error_code", "created_at"],
        unique=False,
        postgresql_where="NOT success",
    )
    op.create_index(
        "ix_build_results_image_digest",
        "build_results",
        ["image_digest"],
        unique=False,
        postgresql_using="hash",
        postgresql_where="image_digest IS NOT NULL",
    )
    op.create_index(
        "ix_build_results_log_retention",
        "build_results",
        ["created_at"],
        unique=False,
        postgresql_where="logs_truncated_at IS NULL AND (stdout_log IS NOT NULL OR stderr_log IS NOT NULL)",
    )
    op.create_index(
        "ix_build_artifacts_artifact_type",
        "build_artifacts",
        ["artifact_type", "created_at"],
        unique=False,
        postgresql_where="deleted_at IS NULL",
    )
    op.create_index(
        "ix_build_artifacts_build_result_id", "build_artifacts", ["build_result_id"], unique=False
    )
    op.create_index(
        "ix_build_artifacts_checksum_sha256",
        "build_artifacts",
        ["checksum_sha256"],
        unique=False,
        postgresql_using="hash",
        postgresql_where="checksum_sha256 IS NOT NULL",
    )
    op.create_index(
        "ix_build_artifacts_deleted_at",
        "build_artifacts",
        ["deleted_at"],
        unique=False,
        postgresql_where="deleted_at IS NOT NULL",
    )
    op.create_index(
        "ix_build_artifacts_expires_at",
        "build_artifacts",
        ["expires_at"],
        unique=False,
        postgresql_where="deleted_at IS NULL AND expires_at IS NOT NULL",
    )
    op.create_index(
        "ix_build_artifacts_metadata",
        "build_artifacts",
        ["metadata"],
        unique=False,
        postgresql_using="gin",
        postgresql_ops={"metadata": "jsonb_path_ops"},
    )
    op.create_index("ix_build_events_build_queue_id", "build_events", ["build_queue_id"], unique=False)
    op.create_index(
        "ix_build_events_event_timestamp",
        "build_events",
        ["event_timestamp"],
        unique=False,
        postgresql_using="brin",
    )
    op.create_index("ix_build_events_event_type", "build_events", ["event_type"], unique=False)
    op.create_index(
        "ix_build_events_severity",
        "build_events",
        ["severity", "event_timestamp"],
        unique=False,
        postgresql_where="severity IN ('error', 'critical')",
    )
    op.create_index(
        "ix_build_metrics_build_queue_id",
        "build_metrics",
        ["build_queue_id"],
        unique=False,
    )
    op.create_index(
        "ix_build_metrics_metric_name",
        "build_metrics",
        ["metric_name", "metric_timestamp"],
        unique=False,
        postgresql_include=["metric_value"],
    )
    op.create_index(
        "ix_build_metrics_tags",
        "build_metrics",
        ["tags"],
        unique=False,
        postgresql_using="gin",
        postgresql_ops={"tags": "jsonb_path_ops"},
    )
    op.create_index(
        "ix_build_manifests_build_cache_id",
        "build_manifests",
        ["build_cache_id"],
        unique=False,
        postgresql_where="build_cache_id IS NOT NULL",
    )
    op.create_index(
        "ix_build_manifests_customer_id", "build_manifests", ["customer_id", "created_at"], unique=False
    )
    op.create_index(
        "ix_build_manifests_deleted_at",
        "build_manifests",
        ["deleted_at"],
        unique=False,
        postgresql_where="deleted_at IS NOT NULL",
    )
    op.create_index(
        "ix_build_manifests_deployment_id",
        "build_manifests",
        ["deployment_id"],
        unique=False,
        postgresql_where="deployment_id IS NOT NULL",
    )
    op.create_index(
        "ix_build_manifests_deployment_status",
        "build_manifests",
        ["deployment_status", "created_at"],
        unique=False,
        postgresql_where="deleted_at IS NULL",
    )
    op.create_index("ix_build_manifests_manifest_hash", "build_manifests", ["manifest_hash"], unique=False)
    op.create_index(
        "ix_build_manifests_manifest_json",
        "build_manifests",
        ["manifest_json"],
        unique=False,
        postgresql_using="gin",
        postgresql_ops={"manifest_json": "jsonb_path_ops"},
    )
    op.create_index(
        "ix_conversations_active",
        "conversations",
        ["started_at"],
        unique=False,
        postgresql_where="status = 'active'",
    )
    op.create_index(
        "ix_conversations_build_manifest_id",
        "conversations",
        ["build_manifest_id", "customer_id"],
        unique=False,
        postgresql_where="build_manifest_id IS NOT NULL",
    )
    op.create_index(
        "ix_conversations_customer_email",
        "conversations",
        ["customer_email"],
        unique=False,
        postgresql_where="customer_email IS NOT NULL",
    )
    op.create_index(
        "ix_conversations_customer_id", "conversations", ["customer_id", "started_at"], unique=False
    )
    op.create_index(
        "ix_conversations_extracted_requirements",
        "conversations",
        ["extracted_requirements"],
        unique=False,
        postgresql_using="gin",
        postgresql_ops={"extracted_requirements": "jsonb_path_ops"},
    )
    op.create_index(
        "ix_conversations_session_id",
        "conversations",
        ["session_id"],
        unique=False,
        postgresql_where="session_id IS NOT NULL",
    )
    op.create_index("ix_conversations_started_at", "conversations", ["started_at"], unique=False)
    op.create_index(
        "ix_conversation_messages_content_search",
        "conversation_messages",
        [sa.literal_column("to_tsvector('english'::regconfig, \"left\"(content, 100000))")],
        unique=False,
        postgresql_using="gin",
    )
    op.create_index(
        "ix_conversation_messages_created_at",
        "conversation_messages",
        ["created_at"],
        unique=False,
        postgresql_using="brin",
    )
    op.create_index(
        "ix_conversation_messages_function_name",
        "conversation_messages",
        ["function_name", "created_at"],
        unique=False,
        postgresql_where="function_name IS NOT NULL",
    )
    op.create_index(
        "ix_conversation_intents_conversation_id", "conversation_intents", ["conversation_id"], unique=False
    )
    op.create_index(
        "ix_conversation_intents_intent_parameters",
        "conversation_intents",
        ["intent_parameters"],
        unique=False,
        postgresql_using="gin",
        postgresql_ops={"intent_parameters": "jsonb_path_ops"},
    )
    op.create_index(
        "ix_conversation_intents_intent_type",
        "conversation_intents",
        ["intent_type", "detected_at"],
        unique=False,
    )
    op.create_index(
        "ix_conversation_intents_message_id",
        "conversation_intents",
        ["message_id"],
        unique=False,
        postgresql_where="message_id IS NOT NULL",
    )
    op.create_index(
        "ix_requirement_extractions_build_manifest_id",
        "requirement_extractions",
        ["build_manifest_id"],
        unique=False,
        postgresql_where="build_manifest_id IS NOT NULL",
    )
    op.create_index(
        "ix_requirement_extractions_conversation_id",
        "requirement_extractions",
        ["conversation_id"],
        unique=False,
    )
    op.create_index(
        "ix_requirement_extractions_extracted_from_message_id",
        "requirement_extractions",
        ["extracted_from_message_id"],
        unique=False,
        postgresql_where="extracted_from_message_id IS NOT NULL",
    )
    op.create_index(
        "ix_requirement_extractions_requirement_json",
        "requirement_extractions",
        ["requirement_json"],
        unique=False,
        postgresql_using="gin",
        postgresql_ops={"requirement_json": "jsonb_path_ops"},
    )
    op.create_index(
        "ix_requirement_extractions_requirement_type",
        "requirement_extractions",
        ["requirement_type", "created_at"],
        unique=False,
    )
    op.create_index(
        "ix_requirement_extractions_unconfirmed",
        "requirement_extractions",
        ["created_at"],
        unique=False,
        postgresql_where="NOT is_confirmed",
    )


def downgrade() -> None:
    """Drop them again."""
    op.drop_index("ix_requirement_extractions_unconfirmed", table_name="requirement_extractions")
    op.drop_index("ix_requirement_extractions_requirement_type", table_name="requirement_extractions")
    op.drop_index("ix_requirement_extractions_requirement_json", table_name="requirement_extractions")
    op.drop_index(
        "ix_requirement_extractions_extracted_from_message_id", table_name="requirement_extractions"
    )
    op.drop_index("ix_requirement_extractions_conversation_id", table_name="requirement_extractions")
    op.drop_index("ix_requirement_extractions_build_manifest_id", table_name="requirement_extractions")
    op.drop_index("ix_conversation_intents_message_id", table_name="conversation_intents")
    op.drop_index("ix_conversation_intents_intent_type", table_name="conversation_intents")
    op.drop_index("ix_conversation_intents_intent_parameters", table_name="conversation_intents")
    op.drop_index("ix_conversation_intents_conversation_id", table_name="conversation_intents")
    op.drop_index("ix_conversation_messages_function_name", table_name="conversation_messages")
    op.drop_index("ix_conversation_messages_created_at", table_name="conversation_messages")
    op.drop_index("ix_conversation_messages_content_search", table_name="conversation_messages")
    op.drop_index("ix_conversations_started_at", table_name="conversations")
    op.drop_index("ix_conversations_session_id", table_name="conversations")
    op.drop_index("ix_conversations_extracted_requirements", table_name="conversations")
    op.drop_index("ix_conversations_customer_id", table_name="conversations")
    op.drop_index("ix_conversations_customer_email", table_name="conversations")
    op.drop_index("ix_conversations_build_manifest_id", table_name="conversations")
    op.drop_index("ix_conversations_active", table_name="conversations")
    op.drop_index("ix_build_manifests_manifest_json", table_name="build_manifests")
    op.drop_index("ix_build_manifests_manifest_hash", table_name="build_manifests")
    op.drop_index("ix_build_manifests_deployment_status", table_name="build_manifests")
    op.drop_index("ix_build_manifests_deployment_id", table_name="build_manifests")
    op.drop_index("ix_build_manifests_deleted_at", table_name="build_manifests")
    op.drop_index("ix_build_manifests_customer_id", table_name="build_manifests")
    op.drop_index("ix_build_manifests_build_cache_id", table_name="build_manifests")
    op.drop_index("ix_build_metrics_tags", table_name="build_metrics")
    op.drop_index("ix_build_metrics_metric_name", table_name="build_metrics")
    op.drop_index("ix_build_metrics_build_queue_id", table_name="build_metrics")
    op.drop_index("ix_build_events_severity", table_name="build_events")
    op.drop_index("ix_build_events_event_type", table_name="build_events")
    op.drop_index("ix_build_events_event_timestamp", table_name="build_events")
    op.drop_index("ix_build_events_build_queue_id", table_name="build_events")
    op.drop_index("ix_build_artifacts_metadata", table_name="build_artifacts")
    op.drop_index("ix_build_artifacts_expires_at", table_name="build_artifacts")
    op.drop_index("ix_build_artifacts_deleted_at", table_name="build_artifacts")
    op.drop_index("ix_build_artifacts_checksum_sha256", table_name="build_artifacts")
    op.drop_index("ix_build_artifacts_build_result_id", table_name="build_artifacts")
    op.drop_index("ix_build_artifacts_artifact_type", table_name="build_artifacts")
    op.drop_index("ix_build_results_log_retention", table_name="build_results")
    op.drop_index("ix_build_results_image_digest", table_name="build_results")
    op.drop_index("ix_build_results_error_code", table_name="build_results")
    op.drop_index("ix_build_results_created_at", table_name="build_results")
    op.drop_index("ix_build_results_build_cache_id", table_name="build_results")
    op.drop_index("uq_build_queue_idempotency_key", table_name="build_queue")
    op.drop_index("ix_build_queue_waiting", table_name="build_queue")
    op.drop_index("ix_build_queue_timeout_at", table_name="build_queue")
    op.drop_index("ix_build_queue_target_registry_id", table_name="build_queue")
    op.drop_index("ix_build_queue_slots", table_name="build_queue")
    op.drop_index("ix_build_queue_delayed", table_name="build_queue")
    op.drop_index("ix_build_queue_customer_id", table_name="build_queue")
    op.drop_index("ix_build_queue_completed_at", table_name="build_queue")
    op.drop_index("ix_build_queue_claim", table_name="build_queue")
    op.drop_index("ix_build_access_log_customer_id", table_name="build_access_log")
    op.drop_index("ix_build_access_log_build_cache_id", table_name="build_access_log")
    op.drop_index("ix_build_access_log_accessed_at", table_name="build_access_log")
    op.drop_index("uq_build_cache_registry_live_entry", table_name="build_cache_registry")
    op.drop_index("ix_build_cache_registry_target", table_name="build_cache_registry")
    op.drop_index("ix_build_cache_registry_modules", table_name="build_cache_registry")
    op.drop_index("ix_build_cache_registry_manifest_json", table_name="build_cache_registry")
    op.drop_index("ix_build_cache_registry_first_built_by_customer", table_name="build_cache_registry")
    op.drop_index("ix_build_cache_registry_first_built_at", table_name="build_cache_registry")
    op.drop_index("ix_build_cache_registry_expires_at", table_name="build_cache_registry")
    op.drop_index("ix_build_cache_registry_deleted_at", table_name="build_cache_registry")
    op.drop_index("uq_registry_credentials_live_default", table_name="registry_credentials")
    op.drop_index("ix_registry_credentials_invalid", table_name="registry_credentials")
    op.drop_index("ix_registry_credentials_encryption_key_id", table_name="registry_credentials")
    op.drop_index("ix_licenses_trial_expires_at", table_name="licenses")
    op.drop_index("ix_licenses_features", table_name="licenses")
    op.drop_index("ix_licenses_expires_at", table_name="licenses")
    op.drop_index("ix_customers_tier_subscription_status", table_name="customers")
    op.drop_index("ix_customers_tags", table_name="customers")
    op.drop_index("ix_customers_metadata", table_name="customers")
    op.drop_index("ix_customers_deleted_at", table_name="customers")
    op.drop_index("ix_customers_contact_email", table_name="customers")
