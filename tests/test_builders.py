"""The builders of rows insert one valid row each, into every table that applications fill."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import builders
from honua_schema.models import Base

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

    Connection = psycopg.Connection[Any]

FILLED_BY_THE_SCHEMA = {"audit_log", "schema_migrations"}
BUILDERS: dict[str, Callable[[Connection], object]] = {
    "build_access_log": lambda connection: builders.add_cache_access(
        connection, builders.add_cache_entry(connection)
    ),
    "build_artifacts": builders.add_artifact,
    "build_cache_registry": builders.add_cache_entry,
    "build_events": builders.add_event,
    "build_manifests": builders.add_manifest,
    "build_metrics": builders.add_metric,
    "build_queue": builders.add_build,
    "build_results": builders.add_result,
    "conversation_intents": builders.add_intent,
    "conversation_messages": builders.add_message,
    "conversations": builders.add_conversation,
    "customers": builders.add_customer,
    "licenses": builders.add_license,
    "registry_credentials": builders.add_registry_credential,
    "requirement_extractions": builders.add_extraction,
}


def test_every_table_has_a_builder() -> None:
    assert BUILDERS.keys() | FILLED_BY_THE_SCHEMA == Base.metadata.tables.keys()


@pytest.mark.parametrize("table", BUILDERS)
def test_a_builder_adds_one_row_each_time(connection: Connection, table: str) -> None:
    def count() -> Any:
        [row] = connection.execute(f"SELECT count(*) FROM {table}".encode()).fetchall()
        return row.count

    build = BUILDERS[table]
    before = count()
    keys = [build(connection), build(connection)]
    assert len(set(keys)) == 2
    assert count() == before + 2


def test_a_builder_takes_any_column(connection: Connection) -> None:
    customer = builders.add_customer(connection, "atlas", tier="pro", metadata={"region": "north"})
    build = builders.add_build(connection, customer, priority=9)
    [row] = connection.execute(
        "SELECT build.customer_id, build.priority, customer.tier, customer.metadata"
        " FROM build_queue AS build JOIN customers AS customer USING (customer_id) WHERE build.id = %s",
        [build],
    ).fetchall()
    assert row == ("atlas", 9, "pro", {"region": "north"})
