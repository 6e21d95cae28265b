"""write_audit_log(): one record of what differs, in the columns that may be recorded, and of no others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from psycopg.types.json import Jsonb

from queries import row

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[Any]

ID = UUID(int=7)
OLD = {"id": str(ID), "customer_id": "atlas", "tier": "pro", "secret": "canary", "note": None}


def write(connection: Connection, operation: str, old: object, new: object, *columns: str) -> Any:
    connection.execute(
        "SELECT write_audit_log('licenses', %s, %s, %s, %s::text[])",
        [operation, old and Jsonb(old), new and Jsonb(new), list(columns)],
    )
    return row(connection, "SELECT * FROM audit_log ORDER BY id DESC LIMIT 1")


def test_only_what_differs_in_the_given_columns_is_recorded(connection: Connection) -> None:
    new = OLD | {"tier": "enterprise", "secret": "another"}

    record = write(connection, "UPDATE", OLD, new, "customer_id", "tier", "note")

    assert (record.table_name, record.operation, record.row_id, record.customer_id) == (
        "licenses", "UPDATE", ID, "atlas",
    )  # fmt: skip
    assert (record.old_values, record.new_values) == ({"tier": "pro"}, {"tier": "enterprise"})


@pytest.mark.parametrize(
    ("operation", "old", "new", "recorded"),
    [
        ("INSERT", None, OLD, (None, {"tier": "pro"})),
        ("DELETE", OLD, None, ({"tier": "pro"}, None)),
        ("UPDATE", OLD, OLD | {"secret": "another"}, ({}, {})),
    ],
)
def test_where_there_is_no_row_there_are_no_values(
    connection: Connection, operation: str, old: object, new: object, recorded: tuple[object, object]
) -> None:
    record = write(connection, operation, old, new, "tier", "note")

    assert (record.old_values, record.new_values) == recorded
    assert (record.row_id, record.customer_id) == (ID, "atlas")


def test_the_actor_is_who_was_named_else_the_role(connection: Connection) -> None:
    session = write(connection, "INSERT", None, OLD).actor
    with connection.transaction():
        connection.execute("SELECT set_config('honua.actor', 'ada', true)")
        named = write(connection, "INSERT", None, OLD).actor

    assert (session, named) == (row(connection, "SELECT session_user::text AS name").name, "ada")
