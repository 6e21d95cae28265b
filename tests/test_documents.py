"""Every statement of the product's two documents runs as it stands there, and gives the answer promised."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[Any]

DOCUMENTED_TABLES = {
    "customers", "licenses", "registry_credentials", "build_cache_registry", "build_access_log",
    "build_queue", "build_results", "build_artifacts", "build_events", "build_metrics",
    "conversations", "conversation_messages", "conversation_intents", "build_manifests",
    "requirement_extractions", "schema_migrations",
}  # fmt: skip
DOCUMENTED_VIEWS = {
    "active_builds", "build_performance_summary", "customer_build_usage", "active_conversations",
    "conversation_performance_summary", "intent_analytics", "extraction_accuracy",
}  # fmt: skip
DOCUMENTED_FUNCTIONS = {
    "update_cache_stats", "record_cache_access", "get_next_build_for_worker", "update_build_progress",
    "expire_old_conversations", "revoke_expired_credentials", "get_cache_hit_rate",
    "get_license_quota_usage", "cleanup_old_build_logs", "purge_soft_deleted_records",
    "handle_build_timeouts", "expire_licenses",
}  # fmt: skip

QUEUE_A_BUILD = """
INSERT INTO build_queue (
    customer_id,
    manifest_path,
    manifest_hash,
    manifest_json,
    priority,
    architecture
) VALUES (
    'customer-123',
    '/manifests/honua-build.json',
    'abc123def456',
    '{"modules": ["ogc-api", "stac"], "cloud": "aws"}'::jsonb,
    8, -- high priority
    'amd64'
);
"""
GET_NEXT_BUILD = """
SELECT * FROM get_next_build_for_worker(
    'worker-001',
    'worker-host-01.example.com',
    'amd64'
);
"""
MONITOR_ACTIVE_BUILDS = """
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
"""
QUEUE_DEPTH = """
SELECT
    status,
    COUNT(*) as count
FROM build_queue
GROUP BY status
ORDER BY status;
"""
RECENT_PERFORMANCE = """
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
"""
TOP_CACHED_BUILDS = """
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
"""
CONVERSATION_ANALYTICS = """
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
"""
TABLE_SIZES = """
SELECT
    schemaname,
    tablename,
    pg_size_pretty(pg_total_relation_size(schemaname||'.'||tablename)) AS size,
    pg_total_relation_size(schemaname||'.'||tablename) AS size_bytes
FROM pg_tables
WHERE schemaname = 'public'
ORDER BY size_bytes DESC;
"""


@pytest.fixture
def customer(connection: Connection) -> str:
    connection.execute(
        "INSERT INTO customers (customer_id, organization_name, contact_email)"
        " VALUES ('customer-123', 'Example Maps', 'maps@example.com')"
    )
    return "customer-123"


def names(connection: Connection, query: str) -> set[str]:
    return {row[0] for row in connection.execute(query)}


def test_the_documented_tables_are_there_and_the_seventeenth_is_the_audit_log(connection: Connection) -> None:
    tables = names(connection, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    assert tables == DOCUMENTED_TABLES | {"audit_log", "alembic_version"}


def test_the_documented_views_are_there_and_an_eighth(connection: Connection) -> None:
    views = names(connection, "SELECT viewname FROM pg_views WHERE schemaname = 'public'")
    assert views == DOCUMENTED_VIEWS | {"cache_performance_summary"}


def test_the_documented_functions_are_there(connection: Connection) -> None:
    functions = names(
        connection,
        "SELECT p.proname FROM pg_proc p JOIN pg_namespace n ON p.pronamespace = n.oid"
        " WHERE n.nspname = 'public' AND p.prokind = 'f'",
    )
    assert functions >= DOCUMENTED_FUNCTIONS
    assert len(functions) >= 15


def test_there_are_at_least_seventy_indexes(connection: Connection) -> None:
    row = connection.execute("SELECT COUNT(*) FROM pg_indexes WHERE schemaname = 'public'").fetchone()
    assert row is not None
    assert row[0] >= 70


def test_there_are_at_least_eight_triggers(connection: Connection) -> None:
    triggers = names(connection, "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal AND tgparentid = 0")
    assert len(triggers) >= 8


def test_the_current_version_is_the_last_one_applied(connection: Connection) -> None:
    version = connection.execute(
        "SELECT version FROM schema_migrations ORDER BY version DESC LIMIT 1;"
    ).fetchone()
    head = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    assert version == head


def test_applied_migrations_are_listed_with_their_duration(connection: Connection) -> None:
    rows = connection.execute(
        "SELECT version, name, applied_at, execution_time_ms || 'ms' as duration"
        " FROM schema_migrations ORDER BY version;"
    ).fetchall()
    assert [row.version for row in rows[:5]] == ["001", "002", "003", "004", "005"]
    assert [row.name for row in rows[:5]] == [
        "initial_schema", "build_queue", "intake_system", "indexes", "functions",
    ]  # fmt: skip
    assert all(row.duration.endswith("ms") for row in rows)


def test_a_build_is_queued_claimed_and_monitored(connection: Connection, customer: str) -> None:
    connection.execute(QUEUE_A_BUILD)
    assert connection.execute(QUEUE_DEPTH).fetchall() == [("queued", 1)]

    build = connection.execute(GET_NEXT_BUILD).fetchone()
    assert build is not None
    assert build[1:5] == ({"modules": ["ogc-api", "stac"], "cloud": "aws"}, customer, 8, 0)
    assert connection.execute(GET_NEXT_BUILD).fetchone() is None

    active = connection.execute(MONITOR_ACTIVE_BUILDS).fetchall()
    assert [(row.customer_id, row.status, row.priority) for row in active] == [(customer, "building", 8)]
    assert active[0].elapsed_seconds == 0
    assert 3590 <= active[0].remaining_seconds <= 3600


def test_recent_performance_counts_completed_builds(connection: Connection, customer: str) -> None:
    connection.execute(QUEUE_A_BUILD)
    build = connection.execute(GET_NEXT_BUILD).fetchone()
    assert build is not None
    connection.execute("SELECT complete_build(%s, 'worker-001', 0, true, 90)", [build.build_id])
    rows = connection.execute(RECENT_PERFORMANCE).fetchall()
    assert [row[1:] for row in rows] == [(1, 1, Decimal(90), 90.0)]


def test_the_cache_hit_rate_is_known_overall_and_per_customer(connection: Connection, customer: str) -> None:
    entry = connection.execute(
        "INSERT INTO build_cache_registry (manifest_hash, tier, registry_url, image_tag, full_image_url,"
        " modules, architecture, cloud_provider, cloud_compute, deployment_mode, build_duration_seconds,"
        " manifest_json) VALUES ('abc123def456', 'core', 'ghcr.io', '1', 'ghcr.io/honua/server:1',"
        " '{ogc-api}', 'amd64', 'aws', 'graviton', 'standalone', 100, '{}') RETURNING id"
    ).fetchone()
    assert entry is not None
    for access_type in ("cache_hit", "cache_hit", "cache_hit", "cache_miss"):
        connection.execute("SELECT record_cache_access(%s, %s, %s)", [entry.id, customer, access_type])

    overall = connection.execute("SELECT * FROM get_cache_hit_rate(NULL, 30);").fetchall()
    assert [row[1:] for row in overall] == [(4, 3, 1, Decimal("75.00"))]
    own = connection.execute("SELECT * FROM get_cache_hit_rate('customer-123', 7);").fetchall()
    assert [row[:] for row in own] == [(customer, 4, 3, 1, Decimal("75.00"))]

    top = connection.execute(TOP_CACHED_BUILDS).fetchall()
    assert [(row.manifest_hash, row.cache_hit_count, row.total_customers_served) for row in top] == [
        ("abc123def456", 3, 1)
    ]


def test_the_licence_quota_is_known(connection: Connection, customer: str) -> None:
    connection.execute(
        "INSERT INTO licenses (customer_id, license_key, license_key_hash, tier, expires_at)"
        " VALUES ('customer-123', 'encrypted', 'hash', 'pro', now() + interval '1 year')"
    )
    connection.execute(QUEUE_A_BUILD)
    usage = connection.execute("SELECT * FROM get_license_quota_usage('customer-123');").fetchall()
    assert [row[:8] for row in usage] == [(100, 1, 99, Decimal("1.00"), 3, 0, 1, 0)]


def test_conversation_analytics_count_messages_and_manifests(connection: Connection, customer: str) -> None:
    connection.execute(
        "INSERT INTO conversations (customer_id, status, completed_at, total_cost_usd)"
        " VALUES ('customer-123', 'completed', now(), 0.05)"
    )
    connection.execute(
        "INSERT INTO conversation_messages (conversation_id, role, content, sequence_number)"
        " SELECT id, 'user', 'a map server', 1 FROM conversations"
    )
    rows = connection.execute(CONVERSATION_ANALYTICS).fetchall()
    assert [row[1:] for row in rows] == [(1, 1, 0, Decimal(1), Decimal("0.0500"))]


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM expire_old_conversations(24);",
        "SELECT * FROM revoke_expired_credentials();",
        "SELECT * FROM expire_licenses();",
        "SELECT * FROM handle_build_timeouts();",
    ],
)
def test_a_clean_up_finds_nothing_to_do_in_a_new_database(connection: Connection, statement: str) -> None:
    assert connection.execute(statement).fetchall() == []


def test_no_log_is_old_enough_to_be_emptied_in_a_new_database(connection: Connection) -> None:
    assert connection.execute("SELECT * FROM cleanup_old_build_logs(90);").fetchall() == [(0,)]


def test_nothing_is_purged_from_a_new_database(connection: Connection) -> None:
    rows = connection.execute("SELECT * FROM purge_soft_deleted_records(30);").fetchall()
    assert {row.table_name: row.records_purged for row in rows} == {
        "customers": 0, "build_cache_registry": 0, "build_manifests": 0, "build_artifacts": 0,
    }  # fmt: skip


def test_table_sizes_are_listed(connection: Connection) -> None:
    sizes = {row.tablename: row.size_bytes for row in connection.execute(TABLE_SIZES)}
    assert sizes.keys() >= DOCUMENTED_TABLES
    assert sizes["customers"] > 0


@pytest.mark.parametrize(
    "table", ["build_access_log", "build_events", "conversation_messages", "build_metrics"]
)
def test_the_busy_tables_can_be_vacuumed(connection: Connection, table: str) -> None:
    connection.execute(f"VACUUM ANALYZE {table};")
    analyzed = connection.execute(
        "SELECT reltuples FROM pg_class WHERE oid = %s::regclass", [table]
    ).fetchone()
    assert analyzed is not None
    assert analyzed.reltuples == 0


def test_query_logging_can_be_set_for_the_database(connection: Connection) -> None:
    database = connection.info.dbname
    connection.execute(f"ALTER DATABASE {database} SET log_min_duration_statement = 1000;")
    setting = connection.execute(
        "SELECT unnest(setconfig) FROM pg_db_role_setting WHERE setdatabase = "
        "(SELECT oid FROM pg_database WHERE datname = current_database())"
    ).fetchall()
    assert ("log_min_duration_statement=1000",) in setting
