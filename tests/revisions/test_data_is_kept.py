"""Rows that are there at a revision are the same after an upgrade to head, and after the way back."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

import builders
from honua_schema import MigrationRunner

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    import psycopg
    from sqlalchemy import URL

    Connection = psycopg.Connection[Any]

Key = TypeVar("Key")


def add_to_build(add: Callable[..., Key], connection: Connection) -> Key:
    """Add a row to a build; its customer too, for the trigger that gives it one is of a later revision."""
    customer = builders.add_customer(connection)
    return add(connection, builders.add_build(connection, customer), customer_id=customer)


def add_result(connection: Connection) -> UUID:
    """Add a result, as above."""
    return add_to_build(builders.add_result, connection)


def add_message(connection: Connection) -> int:
    """Add a message, as above."""
    customer = builders.add_customer(connection)
    conversation = builders.add_conversation(connection, customer)
    return builders.add_message(connection, conversation, customer_id=customer)


REVISIONS = [each.version for each in MigrationRunner("postgresql://").get_available_migrations()]
ROWS: dict[str, Callable[[Connection], object]] = {
    "licenses": builders.add_license,
    "registry_credentials": builders.add_registry_credential,
    "build_cache_registry": builders.add_cache_entry,
    "build_access_log": lambda connection: builders.add_cache_access(
        connection, builders.add_cache_entry(connection)
    ),
    "build_queue": builders.add_build,
    "build_results": add_result,
    "build_artifacts": lambda connection: builders.add_artifact(connection, add_result(connection)),
    "build_events": partial(add_to_build, builders.add_event),
    "build_metrics": partial(add_to_build, builders.add_metric),
    "build_manifests": builders.add_manifest,
    "conversations": builders.add_conversation,
    "conversation_messages": add_message,
    "conversation_intents": builders.add_intent,
    "requirement_extractions": builders.add_extraction,
}
"""How to add a row to each table that an application writes to; customers come with the others."""

Rows = dict[str, list[dict[str, Any]]]


def tables(connection: Connection) -> set[str]:
    names = connection.execute(
        "SELECT c.relname FROM pg_class AS c"
        " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')"
        " AND c.relname NOT IN ('alembic_version', 'schema_migrations', 'audit_log')"
    )
    return {name for (name,) in names}


def read(connection: Connection, names: set[str]) -> Rows:
    return {
        name: [
            row
            for (row,) in connection.execute(
                f"SELECT to_jsonb(t) FROM {name} AS t ORDER BY to_jsonb(t)::text"
            )
        ]
        for name in sorted(names)
    }


def only(rows: Rows, like: Rows) -> Rows:
    """Return the rows with the columns that the others have."""
    return {
        name: [{column: row[column] for column in (like[name] or [{}])[0]} for row in rows[name]]
        for name in like
    }


@pytest.mark.parametrize("revision", REVISIONS)
def test_rows_survive_the_way_up_and_back(
    empty_database: URL, connect: Callable[..., Connection], revision: str
) -> None:
    runner = MigrationRunner(empty_database)
    assert runner.apply_migrations(revision).success
    connection = connect(empty_database)
    names = tables(connection)
    for table in ROWS.keys() & names:
        for _ in range(3):
            ROWS[table](connection)
    before = read(connection, names)
    assert all(before.values()), "every table has rows"

    assert runner.apply_migrations().success
    at_head = read(connection, names)
    assert only(at_head, before) == before

    assert runner.rollback(revision).success
    assert read(connection, names) == before
