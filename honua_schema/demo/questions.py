"""What the product's documents ask the database about usage and for monitoring, word for word.

The cookbook (docs/cookbook.md) has the same questions under the same titles, and more.
"""

from __future__ import annotations

from typing import NamedTuple


class Question(NamedTuple):
    """A query and what it is about."""

    title: str
    sql: str


QUESTIONS = (
    Question(
        "Which build does a worker get next?",
        """
        SELECT * FROM get_next_build_for_worker(
            'worker-001',
            'worker-host-01.example.com',
            'amd64'
        );
        """,
    ),
    Question(
        "How often does the cache have what is asked for?",
        """
        SELECT * FROM get_cache_hit_rate(NULL, 30);
        """,
    ),
    Question(
        "How often does the cache have what a customer asks for?",
        """
        SELECT * FROM get_cache_hit_rate('customer-123', 7);
        """,
    ),
    Question(
        "Which builds go on?",
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
        "How much of a licence is used?",
        """
        SELECT * FROM get_license_quota_usage('customer-123');
        """,
    ),
    Question(
        "How many builds are in each state?",
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
        "How have builds done lately?",
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
        "Which cached builds are used most?",
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
        "How have conversations gone lately?",
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
