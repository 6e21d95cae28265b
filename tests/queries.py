"""Ask the database under test in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[Any]


def rows(connection: Connection, query: str, *values: Any) -> list[Any]:
    """Return the rows of a query, their columns being attributes."""
    return connection.execute(query.encode(), values or None).fetchall()


def row(connection: Connection, query: str, *values: Any) -> Any:
    """Return the only row of a query."""
    (only,) = rows(connection, query, *values)
    return only


def value(connection: Connection, query: str, *values: Any) -> Any:
    """Return the only value of a query."""
    (only,) = row(connection, query, *values)
    return only


def values(connection: Connection, query: str, *parameters: Any) -> list[Any]:
    """Return the only column of a query."""
    return [only for (only,) in rows(connection, query, *parameters)]
