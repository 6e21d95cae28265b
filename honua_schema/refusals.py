"""What PostgreSQL refuses a command, and what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from honua_schema import database
from honua_schema.errors import SchemaError

if TYPE_CHECKING:
    import psycopg
    from sqlalchemy.exc import DBAPIError

NOT_UPGRADED = {"42P01", "42883"}
"""SQLSTATE of undefined_table and undefined_function."""
UPGRADE_FIRST = "Is this the right database? If so, first run: honua-schema upgrade"


def remedy(
    error: DBAPIError | psycopg.Error, may: str = "a role that may: honua-schema roles lists them"
) -> str:
    """Return what to do about an error of the server; nothing if only the error itself can say that.

    Args:
        error: The error.
        may: Who may do what the command does, besides the owner of the tables.
    """
    sqlstate = database.sqlstate(error)
    if sqlstate in NOT_UPGRADED:
        return UPGRADE_FIRST
    if sqlstate == database.INSUFFICIENT_PRIVILEGE:
        return f"Connect as the owner of the tables, or as {may}."
    return ""


def explain(error: DBAPIError | psycopg.Error) -> SchemaError:
    """Return an error of the server as one message with its remedy.

    Args:
        error: The error.
    """
    return SchemaError(f"PostgreSQL refused: {database.server_message(error)}", remedy(error))
