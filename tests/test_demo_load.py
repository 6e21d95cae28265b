"""The demo's data in a database: every rule holds, and every counter is what a recount says."""

from __future__ import annotations

import multiprocessing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import sql

from builders import add_customer
from honua_schema.demo.load import LEVELS, NUMBERED, has_data, load, read_mark
from honua_schema.demo.world import SMALL, Volume, World
from honua_schema.errors import SchemaError
from honua_schema.models import (
    AccessType,
    Architecture,
    ArtifactType,
    BuildAdmission,
    BuildStatus,
    CloudProvider,
    ConversationStatus,
    ConversationType,
    DeploymentMode,
    LicenseStatus,
    MessageContentType,
    MessageRole,
    SubscriptionStatus,
    Tier,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from enum import StrEnum

    from sqlalchemy import URL

    Connection = psycopg.Connection[Any]

ANCHOR = datetime.now(UTC)
TABLES = [name for level in LEVELS for name in level]

WRONG = {
    "cache_hit_count": """
        SELECT e.id FROM build_cache_registry AS e
        WHERE e.cache_hit_count <> (
            SELECT count(*) FROM build_access_log AS a
            WHERE a.build_cache_id = e.id AND a.access_type = 'cache_hit'
        )
    """,
    "last_accessed_at": """
        SELECT e.id FROM build_cache_registry AS e
        WHERE e.last_accessed_at IS DISTINCT FROM (
            SELECT max(a.accessed_at) FROM build_access_log AS a
            WHERE a.build_cache_id = e.id AND a.access_type <> 'cache_miss'
        )
    """,
    "total_customers_served": """
        SELECT e.id FROM build_cache_registry AS e
        WHERE (e.total_customers_served, e.total_customers_served) <> (
            SELECT count(DISTINCT a.customer_id), bit_count(e.customers_served) FROM build_access_log AS a
            WHERE a.build_cache_id = e.id AND a.access_type <> 'cache_miss'
        )
    """,
    "a customer's bit in customers_served": """
        SELECT a.id FROM build_access_log AS a
        JOIN customers AS c ON c.customer_id = a.customer_id
        JOIN build_cache_registry AS e ON e.id = a.build_cache_id
        WHERE CASE
            WHEN a.access_type <> 'cache_miss' THEN get_bit(e.customers_served, c.customer_number) = 0
        END
    """,
    "totals of a conversation": """
        SELECT c.id FROM conversations AS c LEFT JOIN conversation_messages AS m ON m.conversation_id = c.id
        GROUP BY c.id
        HAVING c.total_messages <> count(m.id) OR c.total_tokens_used <> coalesce(sum(m.total_tokens), 0)
            OR c.last_message_at IS DISTINCT FROM max(m.created_at)
    """,
    "cost of a conversation": """
        SELECT c.id FROM conversations AS c WHERE (c.total_tokens_used > 0) <> (c.total_cost_usd > 0)
    """,
    "monthly quota": """
        SELECT b.customer_id FROM build_queue AS b JOIN licenses AS l ON l.customer_id = b.customer_id
        GROUP BY b.customer_id, l.max_builds_per_month, date_trunc('month', b.queued_at, 'UTC')
        HAVING count(*) > l.max_builds_per_month
    """,
    "concurrent builds": """
        SELECT b.customer_id FROM build_queue AS b JOIN licenses AS l ON l.customer_id = b.customer_id
        WHERE b.status = 'building'
        GROUP BY b.customer_id, l.max_concurrent_builds HAVING count(*) > l.max_concurrent_builds
    """,
    "builds that may be claimed": """
        SELECT b.customer_id FROM build_queue AS b JOIN licenses AS l ON l.customer_id = b.customer_id
        WHERE b.status IN ('queued', 'building') AND b.admission = 'ready'
        GROUP BY b.customer_id, l.max_concurrent_builds HAVING count(*) > l.max_concurrent_builds
    """,
    "builds that wait although a slot is free": """
        SELECT b.customer_id FROM build_queue AS b JOIN licenses AS l ON l.customer_id = b.customer_id
        WHERE b.status IN ('queued', 'building') AND b.admission <> 'delayed'
        GROUP BY b.customer_id, l.max_concurrent_builds
        HAVING count(*) FILTER (WHERE b.admission = 'waiting') > 0
            AND count(*) FILTER (WHERE b.admission = 'ready') < l.max_concurrent_builds
    """,
    "admission": """
        SELECT b.id FROM build_queue AS b
        WHERE (b.admission = 'delayed') <> (b.queued_at > now())
            OR b.status <> 'queued' AND b.admission <> 'ready'
    """,
    "active registries": """
        SELECT r.customer_id
        FROM registry_credentials AS r JOIN licenses AS l ON l.customer_id = r.customer_id
        WHERE r.is_active AND r.revoked_at IS NULL
        GROUP BY r.customer_id, l.max_registries HAVING count(*) > l.max_registries
    """,
    "builds without a licence": """
        SELECT b.id FROM build_queue AS b LEFT JOIN licenses AS l ON l.customer_id = b.customer_id
        WHERE (b.queued_at BETWEEN l.issued_at AND coalesce(l.revoked_at, license_ends_at(l))) IS NOT TRUE
    """,
    "hits beyond a customer's tier": """
        SELECT a.id FROM build_access_log AS a
        JOIN customers AS c ON c.customer_id = a.customer_id
        JOIN build_cache_registry AS e ON e.id = a.build_cache_id
        WHERE a.access_type = 'cache_hit' AND tier_rank(c.tier) < tier_rank(e.tier)
    """,
    "hits of an entry that did not live": """
        SELECT a.id FROM build_access_log AS a JOIN build_cache_registry AS e ON e.id = a.build_cache_id
        WHERE a.access_type = 'cache_hit'
          AND (a.accessed_at < e.first_built_at OR a.accessed_at >= least(e.deleted_at, e.expires_at))
    """,
    "results": """
        SELECT b.id FROM build_queue AS b LEFT JOIN build_results AS r ON r.build_queue_id = b.id
        WHERE r.success IS DISTINCT FROM CASE b.status WHEN 'success' THEN true WHEN 'failed' THEN false END
    """,
    "builds without an event": """
        SELECT b.id FROM build_queue AS b
        WHERE NOT EXISTS (SELECT FROM build_events AS e WHERE e.build_queue_id = b.id)
    """,
    "rows in a default partition": """
        SELECT tableoid::regclass FROM build_access_log WHERE tableoid::regclass::text LIKE '%default'
        UNION ALL
        SELECT tableoid::regclass FROM build_events WHERE tableoid::regclass::text LIKE '%default'
        UNION ALL
        SELECT tableoid::regclass FROM build_metrics WHERE tableoid::regclass::text LIKE '%default'
    """,
    "customers without an audit record": """
        SELECT c.id FROM customers AS c WHERE NOT EXISTS (SELECT FROM audit_log AS a WHERE a.row_id = c.id)
    """,
    "dead versions of cache entries": """
        SELECT count(*), pg_relation_size('build_cache_registry') FROM build_cache_registry AS e
        HAVING pg_relation_size('build_cache_registry') > 1.8 * sum(pg_column_size(e)) + 16384
    """,
    "triggers that are switched off": "SELECT t.tgname FROM pg_trigger AS t WHERE t.tgenabled <> 'O'",
    "constraints that are not enforced": "SELECT c.conname FROM pg_constraint AS c WHERE NOT c.convalidated",
}

VALUES: dict[str, type[StrEnum]] = {
    "customers.tier": Tier,
    "customers.subscription_status": SubscriptionStatus,
    "licenses.tier": Tier,
    "licenses.status": LicenseStatus,
    "build_cache_registry.cloud_provider": CloudProvider,
    "build_cache_registry.architecture": Architecture,
    "build_cache_registry.deployment_mode": DeploymentMode,
    "build_access_log.access_type": AccessType,
    "build_queue.status": BuildStatus,
    "build_queue.admission": BuildAdmission,
    "build_queue.architecture": Architecture,
    "build_artifacts.artifact_type": ArtifactType,
    "conversations.status": ConversationStatus,
    "conversations.conversation_type": ConversationType,
    "conversation_messages.role": MessageRole,
    "conversation_messages.content_type": MessageContentType,
}


def small_world(seed: int = 20251029) -> World:
    return World(seed=seed, anchor=ANCHOR, volume=SMALL)


def libpq_uri(database: URL) -> str:
    return database.set(drivername="postgresql").render_as_string(hide_password=False)


@pytest.fixture(scope="module")
def demo(postgresql_server: Any, postgresql_noproc: Any) -> Iterator[Connection]:
    """A connection to a database that holds the small demo; the tests leave it as it is."""
    administration = psycopg.connect(libpq_uri(postgresql_server.url("postgres")), autocommit=True)
    template = sql.Identifier(postgresql_noproc.template_dbname)
    administration.execute(sql.SQL("CREATE DATABASE demo TEMPLATE {}").format(template))
    uri = libpq_uri(postgresql_server.url("demo"))
    load(uri, small_world())
    with psycopg.connect(uri, autocommit=True) as connection:
        yield connection
    administration.execute("DROP DATABASE demo")
    administration.close()


@pytest.mark.parametrize("rule", WRONG)
def test_a_recount_finds_nothing_wrong(demo: Connection, rule: str) -> None:
    assert demo.execute(WRONG[rule]).fetchall() == []


@pytest.mark.parametrize("column", VALUES)
def test_every_value_appears(demo: Connection, column: str) -> None:
    table, name = column.split(".")
    found = {row[0] for row in demo.execute(f"SELECT DISTINCT {name} FROM {table} WHERE {name} IS NOT NULL")}
    assert found == set(VALUES[column])


@pytest.mark.parametrize("table", TABLES)
def test_every_table_has_rows(demo: Connection, table: str) -> None:
    assert demo.execute(f"SELECT FROM {table} LIMIT 1").fetchone() is not None


@pytest.mark.parametrize("table", NUMBERED)
def test_the_next_number_of_a_sequence_is_free(demo: Connection, table: str) -> None:
    column = NUMBERED[table]
    row = demo.execute(
        f"SELECT nextval(pg_get_serial_sequence('{table}', '{column}')) > max({column}) FROM {table}"
    ).fetchone()
    assert row == (True,)


def test_secrets_name_the_key_demo_and_differ(demo: Connection) -> None:
    row = demo.execute(
        "SELECT count(*) = count(DISTINCT password_encrypted), min(encryption_key_id), max(encryption_key_id)"
        " FROM registry_credentials"
    ).fetchone()
    assert row == (True, "demo", "demo")


def test_what_was_loaded_is_written_down(demo: Connection) -> None:
    mark = read_mark(demo)
    assert mark is not None
    assert (mark.scale, mark.seed, mark.is_complete) == (None, 20251029, True)
    assert datetime.fromisoformat(mark.anchor) == ANCHOR


def test_several_processes_load_the_same_rows_as_one(
    demo: Connection, database: URL, connection: Connection
) -> None:
    reports = []
    rows = load(
        libpq_uri(database), small_world(), processes=2, report=lambda *report: reports.append(report)
    )
    assert [fingerprint(connection, table) for table in TABLES] == [
        fingerprint(demo, table) for table in TABLES
    ]
    assert rows == sum(report[1] for report in reports)
    assert {report[0] for report in reports} == set(TABLES)
    assert reports[-1][2] == pytest.approx(1)


def fingerprint(connection: Connection, table: str) -> tuple[str, Any]:
    """Return a hash of a table's rows, except for what triggers write with the time of the load."""
    row = connection.execute(
        "SELECT md5(string_agg((to_jsonb(t) - 'updated_at')::text, ',' ORDER BY to_jsonb(t) ->> 'id'))"
        f" FROM {table} AS t"
    ).fetchone()
    return table, row


def test_a_load_that_was_interrupted_starts_anew(
    demo: Connection, database: URL, connection: Connection
) -> None:
    def interrupt(table: str, *_: object) -> None:
        if table == "build_results":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load(libpq_uri(database), small_world(seed=5), report=interrupt)
    mark = read_mark(connection)
    assert mark is not None
    assert not mark.is_complete
    assert has_data(connection)

    load(libpq_uri(database), small_world())
    mark = read_mark(connection)
    assert mark is not None
    assert mark.is_complete
    assert [fingerprint(connection, table) for table in TABLES] == [
        fingerprint(demo, table) for table in TABLES
    ]


def test_a_database_with_other_data_is_refused(database: URL, connection: Connection) -> None:
    add_customer(connection)
    with pytest.raises(SchemaError, match="has data already"):
        load(libpq_uri(database), small_world())
    assert connection.execute("SELECT count(*) FROM customers").fetchone() == (2,)


def test_two_loads_at_once_are_refused(database: URL) -> None:
    def load_again(*_: object) -> None:
        load(libpq_uri(database), small_world())

    with pytest.raises(SchemaError, match="is being filled by another process"):
        load(libpq_uri(database), small_world(), report=load_again)


def test_a_process_that_is_killed_ends_the_load_with_a_message(database: URL) -> None:
    def kill(*_: object) -> None:
        for process in multiprocessing.active_children():
            process.kill()

    with pytest.raises(SchemaError, match="ended from outside"):
        load(libpq_uri(database), small_world(), processes=2, report=kill)


def test_the_smallest_scale_loads(database: URL, connection: Connection) -> None:
    load(libpq_uri(database), World(seed=3, anchor=ANCHOR, volume=Volume.of_scale(0.01)), scale=0.01)
    for rule, query in WRONG.items():
        assert (rule, connection.execute(query).fetchall()) == (rule, [])
