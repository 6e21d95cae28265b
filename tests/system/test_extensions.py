"""extensions.sql: what the server offers is created once, marked as ours, and never insisted on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from honua_schema.sqlfile import CURRENT
from queries import values

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg
    from sqlalchemy import URL

    Connection = psycopg.Connection[Any]
    Connect = Callable[..., Connection]

SCRIPT = (CURRENT / "system" / "extensions.sql").read_bytes()
OFFERED = "SELECT name FROM pg_available_extensions WHERE name IN ('pgcrypto', 'uuid-ossp') ORDER BY name"
OURS = (
    "SELECT extname FROM pg_extension WHERE obj_description(oid, 'pg_extension') LIKE 'honua-schema: %'"
    " ORDER BY extname"
)


def test_what_is_offered_is_created_and_marked(connect: Connect, empty_database: URL) -> None:
    connection = connect(empty_database)

    for _ in range(2):
        connection.execute(SCRIPT)
        assert values(connection, OURS) == values(connection, OFFERED)


def test_what_was_there_before_is_not_ours(connect: Connect, empty_database: URL) -> None:
    connection = connect(empty_database)
    for name in values(connection, OFFERED):
        connection.execute(f'CREATE EXTENSION "{name}"'.encode())

    connection.execute(SCRIPT)

    assert values(connection, OURS) == []


def test_a_role_that_may_not_is_told_so_and_goes_on(connect: Connect, empty_database: URL) -> None:
    connection = connect(empty_database)
    notices: list[str | None] = []
    connection.add_notice_handler(lambda notice: notices.append(notice.message_primary))
    with connection.transaction(force_rollback=True):
        connection.execute("CREATE ROLE visitor; SET LOCAL ROLE visitor")
        connection.execute(SCRIPT)
        assert values(connection, OURS) == []

    assert notices == [
        f"extension {name} was not created: the role visitor may not" for name in values(connection, OFFERED)
    ]
