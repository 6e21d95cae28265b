"""The functions, and the triggers that call them.

- Locks: a trigger takes SHARE ROW EXCLUSIVE on its table for a moment.
- Online: yes; on a new database nothing uses the tables yet.
- Data: none is lost either way.

Revision: 005
Revises: 004
"""

from __future__ import annotations

from honua_schema import sqlfile

revision = "005"
down_revision = "004"
branch_labels = None
depends_on = None

FUNCTIONS = (
    "005/build_queue/admit_builds.sql",
    "005/build_queue/admit_waiting_builds.sql",
    "005/build_queue/announce_builds.sql",
    "005/build_queue/cancel_build.sql",
    "005/build_queue/change_build_customer.sql",
    "005/build_queue/change_build_limit.sql",
    "005/build_queue/claim_bound.sql",
    "005/build_queue/cleanup_old_build_logs.sql",
    "005/build_queue/complete_build.sql",
    "005/build_queue/free_build_slot.sql",
    "005/build_queue/get_build_registry_credential.sql",
    "005/build_queue/get_next_build_for_worker.sql",
    "005/build_queue/handle_build_timeouts.sql",
    "005/build_queue/lower_claim_bound.sql",
    "005/build_queue/raise_claim_bounds.sql",
    "005/build_queue/release_delayed_builds.sql",
    "005/build_queue/requeue_build.sql",
    "005/build_queue/retry_failed_build.sql",
    "005/build_queue/take_build_customer.sql",
    "005/build_queue/update_build_progress.sql",
    "005/build_queue/validate_build_queue_insert.sql",
    "005/core/license_ends_at.sql",
    "005/core/tier_rank.sql",
    "005/core/count_cache_accesses.sql",
    "005/core/enforce_registry_limit.sql",
    "005/core/expire_licenses.sql",
    "005/core/find_cached_build.sql",
    "005/core/get_cache_hit_rate.sql",
    "005/core/get_license_quota_usage.sql",
    "005/core/lock_license.sql",
    "005/core/record_cache_access.sql",
    "005/core/revoke_expired_credentials.sql",
    "005/core/update_cache_stats.sql",
    "005/intake/change_conversation_customer.sql",
    "005/intake/check_manifest_build.sql",
    "005/intake/expire_old_conversations.sql",
    "005/intake/take_conversation_customer.sql",
    "005/intake/update_conversation_stats.sql",
    "005/system/drop_old_log_partitions.sql",
    "005/system/ensure_log_partitions.sql",
    "005/system/log_time_column.sql",
    "005/system/missing_log_months.sql",
    "005/system/purge_soft_deleted_records.sql",
    "005/system/refuse_foreign_row.sql",
    "005/system/update_updated_at_column.sql",
    "005/core/find_license_customer.sql",
    "005/core/admitted_tiers.sql",
)
TRIGGERS = (
    "005/build_queue/build_events_take_customer.sql",
    "005/build_queue/build_metrics_take_customer.sql",
    "005/build_queue/build_queue_announce.sql",
    "005/build_queue/build_queue_change_customer.sql",
    "005/build_queue/build_queue_check_customer.sql",
    "005/build_queue/build_queue_free_slot.sql",
    "005/build_queue/build_queue_free_slot_on_delete.sql",
    "005/build_queue/build_queue_hold_customer.sql",
    "005/build_queue/build_queue_requeue.sql",
    "005/build_queue/build_queue_take_slot_on_insert.sql",
    "005/build_queue/build_queue_update_updated_at.sql",
    "005/build_queue/build_queue_validate_insert.sql",
    "005/build_queue/build_results_take_customer.sql",
    "005/build_queue/licenses_change_build_limit.sql",
    "005/core/build_access_log_update_cache_stats.sql",
    "005/core/customers_update_updated_at.sql",
    "005/core/licenses_update_updated_at.sql",
    "005/core/registry_credentials_check_customer.sql",
    "005/core/registry_credentials_enforce_limit.sql",
    "005/core/registry_credentials_update_updated_at.sql",
    "005/intake/build_manifests_check_build.sql",
    "005/intake/build_manifests_update_updated_at.sql",
    "005/intake/build_queue_check_manifest.sql",
    "005/intake/conversation_messages_stats_on_delete.sql",
    "005/intake/conversation_messages_stats_on_insert.sql",
    "005/intake/conversation_messages_stats_on_update.sql",
    "005/intake/conversation_messages_take_customer.sql",
    "005/intake/conversations_change_customer.sql",
    "005/intake/conversations_update_updated_at.sql",
)


def upgrade() -> None:
    """Create the functions, which are their owner's alone until roles are there, then the triggers."""
    sqlfile.create(*FUNCTIONS)
    sqlfile.keep_for_owner(*FUNCTIONS)
    sqlfile.create(*TRIGGERS)


def downgrade() -> None:
    """Drop the triggers, then the functions."""
    sqlfile.drop(*reversed(TRIGGERS), *reversed(FUNCTIONS))
