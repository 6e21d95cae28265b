"""count_cache_accesses(): adds to the counters of an entry that is there, each customer once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest
from psycopg import errors

from builders import add_cache_entry
from queries import row

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[Any]

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def count(connection: Connection, entry: UUID, hits: int, at: datetime, customers: list[int | None]) -> Any:
    connection.execute("SELECT count_cache_accesses(%s, %s, %s, %s)", [entry, hits, at, customers])
    entry_row = row(connection, "SELECT * FROM build_cache_registry WHERE id = %s", entry)
    return entry_row.cache_hit_count, entry_row.total_customers_served, entry_row.last_accessed_at


def test_hits_add_up_and_the_last_access_is_the_latest(connection: Connection) -> None:
    entry = add_cache_entry(connection)

    assert count(connection, entry, 2, NOON, [1]) == (2, 1, NOON)
    assert count(connection, entry, 1, NOON - timedelta(hours=1), [1]) == (3, 1, NOON)
    assert count(connection, entry, 0, NOON + timedelta(hours=1), [1]) == (3, 1, NOON + timedelta(hours=1))


def test_a_customer_counts_once_whatever_his_number(connection: Connection) -> None:
    entry = add_cache_entry(connection)

    assert count(connection, entry, 1, NOON, [7, 8])[1] == 2
    assert count(connection, entry, 1, NOON, [8, 100_000])[1] == 3
    assert count(connection, entry, 1, NOON, [100_000, 7, 0])[1] == 4


def test_other_entries_stay_as_they_are(connection: Connection) -> None:
    entry, other = add_cache_entry(connection), add_cache_entry(connection)
    before = row(connection, "SELECT * FROM build_cache_registry WHERE id = %s", other)

    count(connection, entry, 1, NOON, [1, 2])

    assert row(connection, "SELECT * FROM build_cache_registry WHERE id = %s", other) == before


def test_an_unknown_entry_is_refused_as_the_foreign_key_does(connection: Connection) -> None:
    with pytest.raises(errors.ForeignKeyViolation) as refusal:
        count(connection, uuid4(), 1, NOON, [1])

    diagnosis = refusal.value.diag
    assert (diagnosis.table_name, diagnosis.constraint_name, diagnosis.message_hint) == (
        "build_access_log", "fk_build_access_log_build_cache_id", "Give the entry that was used.",
    )  # fmt: skip
