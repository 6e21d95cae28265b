"""What the product's documents ask the database about usage and for monitoring, word for word."""

from __future__ import annotations

from typing import NamedTuple


class Question(NamedTuple):
    """A query and what it is about."""

    title: str
    sql: str


QUESTIONS = (
    Question(
        "Next build for a worker (asked, and given back)",
        """
        SELECT * FROM get_next_build_for_worker(
            'worker-001',
            'worker-host-01.example.com',
            'amd64'
        );
        """,
    ),
    Question(
        "Cache hit rate of the last 30 days",
        """
        SELECT * FROM get_cache_hit_rate(NULL, 30);
        """,
    ),
    Question(
        "Cache hit rate of customer-123 in the last 7 days",
        """
        SELECT * FROM get_cache_hit_rate('customer-123', 7);
        """,
    ),
    Question(
        "Active builds",
        """
        SELECT
            customer_id,
            status,
            priority,
            progress_percent,
            current_step,
            elapsed_seconds,
            remaining_seconds
        FROM active_builds
        ORDER BY priority DESC, queued_at ASC;
        """,
    ),
    Question(
        "License quotas of customer-123",
        """
        SELECT * FROM get_license_quota_usage('customer-123');
        """,
    ),
    Question(
        "Build queue depth",
        """
        SELECT
            status,
            COUNT(*) as count
        FROM build_queue
        GROUP BY status
        ORDER BY status;
        """,
    ),
    Question(
        "Recent build performance",
        """
        SELECT
            DATE(completed_at) as date,
            COUNT(*) as total_builds,
            COUNT(*) FILTER (WHERE br.success) as successful,
            ROUND(AVG(br.actual_duration_seconds)) as avg_duration_sec,
            PERCENTILE_CONT(0.95) WITHIN GROUP (ORDER BY br.actual_duration_seconds) as p95_duration
        FROM build_queue bq
        JOIN build_results br ON bq.id = br.build_queue_id
        WHERE completed_at >= NOW() - INTERVAL '7 days'
        GROUP BY DATE(completed_at)
        ORDER BY date DESC;
        """,
    ),
    Question(
        "Top cached builds",
        """
        SELECT
            manifest_hash,
            tier,
            cache_hit_count,
            total_customers_served,
            modules,
            cloud_provider,
            first_built_at,
            last_accessed_at
        FROM build_cache_registry
        WHERE deleted_at IS NULL
        ORDER BY cache_hit_count DESC
        LIMIT 20;
        """,
    ),
    Question(
        "Conversation analytics",
        """
        SELECT
            DATE(started_at) as date,
            COUNT(*) as total_conversations,
            COUNT(*) FILTER (WHERE status = 'completed') as completed,
            COUNT(*) FILTER (WHERE build_manifest_id IS NOT NULL) as with_manifest,
            ROUND(AVG(total_messages)) as avg_messages,
            ROUND(AVG(total_cost_usd)::numeric, 4) as avg_cost
        FROM conversations
        WHERE started_at >= NOW() - INTERVAL '7 days'
        GROUP BY DATE(started_at)
        ORDER BY date DESC;
        """,
    ),
)
