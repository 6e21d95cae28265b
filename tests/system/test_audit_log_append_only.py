"""The audit log is append only, for its owner's statements too, on the table and on its partitions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from psycopg import errors

from builders import add_customer
from queries import value

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[Any]


@pytest.mark.parametrize(
    ("statement", "operation"),
    [
        ("UPDATE {} SET actor = 'somebody else'", "UPDATE"),
        ("DELETE FROM {}", "DELETE"),
        ("MERGE INTO {} AS a USING (VALUES (1)) AS v ON true WHEN MATCHED THEN DELETE", "DELETE"),
    ],
)
@pytest.mark.parametrize("table", ["audit_log", "honua_partitions.audit_log_default"])
@pytest.mark.parametrize("months", [None, 0])
def test_a_record_is_neither_changed_nor_removed(
    connection: Connection, table: str, months: int | None, statement: str, operation: str
) -> None:
    if months is not None:
        connection.execute("SELECT ensure_log_partitions(%s)", [months])
        table = table.replace(
            "default", value(connection, "SELECT to_char(now() AT TIME ZONE 'UTC', '\"y\"YYYY\"m\"MM')")
        )
    add_customer(connection)
    before = value(connection, "SELECT array_agg(a ORDER BY id)::text FROM audit_log AS a")

    with pytest.raises(errors.InsufficientPrivilege) as refusal:
        connection.execute(statement.format(table).encode())

    assert refusal.value.diag.message_primary == f"audit_log is append only: {operation} refused"
    assert refusal.value.diag.message_hint
    assert value(connection, "SELECT array_agg(a ORDER BY id)::text FROM audit_log AS a") == before


def test_the_log_is_not_emptied(connection: Connection) -> None:
    add_customer(connection)

    with pytest.raises(errors.InsufficientPrivilege, match="TRUNCATE refused"):
        connection.execute("TRUNCATE audit_log")

    assert value(connection, "SELECT count(*) > 0 FROM audit_log")
