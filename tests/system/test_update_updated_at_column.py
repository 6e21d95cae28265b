"""updated_at follows every change, keeps what the caller sets, and leaves unchanged rows alone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from builders import (
    add_build,
    add_conversation,
    add_customer,
    add_license,
    add_manifest,
    add_registry_credential,
)
from queries import value, values

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

    Connection = psycopg.Connection[Any]

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
BUILDERS: dict[str, Callable[..., Any]] = {
    "customers": add_customer,
    "licenses": add_license,
    "registry_credentials": add_registry_credential,
    "build_queue": add_build,
    "build_manifests": add_manifest,
    "conversations": add_conversation,
}
CHANGES = {
    "customers": "organization_name = 'other'",
    "licenses": "revoked_reason = 'other'",
    "registry_credentials": "registry_name = 'other'",
    "build_queue": "current_step = 'other'",
    "build_manifests": "generation_method = 'other'",
    "conversations": "user_feedback = 'other'",
}


@pytest.fixture(params=BUILDERS)
def table(request: pytest.FixtureRequest, connection: Connection) -> str:
    """A table, with a row that last changed long ago."""
    table: str = request.param
    connection.execute("DELETE FROM customers")
    BUILDERS[table](connection, updated_at=LONG_AGO)
    return table


def test_a_change_is_dated_with_its_transaction(connection: Connection, table: str) -> None:
    with connection.transaction():
        connection.execute(f"UPDATE {table} SET {CHANGES[table]}".encode())
        assert value(connection, f"SELECT updated_at = now() FROM {table}")


def test_a_time_set_by_the_caller_stays(connection: Connection, table: str) -> None:
    set_by_caller = datetime(2021, 1, 1, tzinfo=UTC)

    connection.execute(f"UPDATE {table} SET {CHANGES[table]}, updated_at = %s".encode(), [set_by_caller])

    assert value(connection, f"SELECT updated_at FROM {table}") == set_by_caller


def test_an_unchanged_row_keeps_its_time(connection: Connection, table: str) -> None:
    connection.execute(f"UPDATE {table} SET created_at = created_at".encode())

    assert value(connection, f"SELECT updated_at FROM {table}") == LONG_AGO


def test_every_table_with_updated_at_has_the_trigger_named_after_it(connection: Connection) -> None:
    tables = values(
        connection,
        "SELECT table_name FROM information_schema.columns"
        " WHERE table_schema = 'public' AND column_name = 'updated_at'",
    )
    triggers = values(
        connection,
        "SELECT tgname FROM pg_trigger WHERE tgfoid = 'update_updated_at_column'::regproc ORDER BY tgname",
    )

    assert triggers == sorted(f"{table}_update_updated_at" for table in tables)
