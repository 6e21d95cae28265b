"""The declared schema, made in a database beside the deployed one, read, and undone.

What PostgreSQL makes of a declaration depends on nothing but PostgreSQL, so what differs from the deployed
schema differs in truth. Only new objects are locked: whoever uses the deployed ones is not held up.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, cast

from sqlalchemy import func, select, text
from sqlalchemy.engine.mock import MockConnection
from sqlalchemy.exc import DBAPIError

from honua_schema import database, locking, sqlfile
from honua_schema.autogenerate import expressions
from honua_schema.autogenerate.catalog import DEPLOYED, Schemas, statement
from honua_schema.declared import create_all
from honua_schema.errors import SchemaError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from sqlalchemy import Connection

INSUFFICIENT_PRIVILEGE = "42501"


@contextmanager
def rolled_back(connection: Connection) -> Iterator[None]:
    """Undo whatever the block does in the database, settings included.

    Args:
        connection: The database. A transaction that had begun goes on.

    Raises:
        SchemaError: The connection is in autocommit mode.
    """
    if locking.is_autocommit(connection):
        raise SchemaError(
            "The connection is in autocommit mode, in which nothing is rolled back.",
            "Pass a connection without AUTOCOMMIT, or an engine.",
        )
    of_caller = connection.in_transaction()
    savepoint = connection.begin_nested()
    try:
        yield
    finally:
        savepoint.rollback()
        if not of_caller:
            connection.rollback()


@contextmanager
def made(connection: Connection) -> Iterator[Schemas]:
    """Make the declared schema under another name, for as long as the block lasts.

    Args:
        connection: The database. The caller rolls back, if only to a savepoint.

    Raises:
        SchemaError: The role may not create a schema, or a declaration is not what PostgreSQL understands.
    """
    # Nobody else has this process id while the transaction lasts.
    main = f"honua_declared_{connection.scalar(select(func.pg_backend_pid()))}"
    schemas = Schemas(main, f"{main}_partitions")
    try:
        connection.execute(text(f"CREATE SCHEMA {schemas.main}"))
    except DBAPIError as error:
        if database.sqlstate(error) != INSUFFICIENT_PRIVILEGE:
            raise
        url = connection.engine.url
        raise SchemaError(
            f"The declared schema cannot be made for comparison: {database.server_message(error)}.",
            "It is made in a schema of its own, in a transaction that is rolled back. An administrator runs: "
            f'GRANT CREATE ON DATABASE "{url.database}" TO "{url.username}"',
        ) from error
    connection.execute(statement("usual_privileges"))
    # Everybody may use the schema public.
    connection.execute(text(f"GRANT USAGE ON SCHEMA {schemas.main} TO PUBLIC"))
    connection.execute(text(f"SET LOCAL search_path = {schemas.main}"))
    _execute(connection, schemas)
    yield schemas


@cache
def declared_statements() -> tuple[str, ...]:
    """Return the SQL that makes the declared schema."""
    recorder = _Recorder()
    create_all(cast("Connection", recorder))
    return tuple(recorder.statements)


class _Recorder(MockConnection):
    """Takes the place of a connection, and keeps what it is told to execute."""

    def __init__(self) -> None:
        dialect = expressions.new_dialect()
        super().__init__(dialect, lambda ddl, *_: self.statements.append(str(ddl.compile(dialect=dialect))))
        self.statements: list[str] = []

    def exec_driver_sql(self, statement: str, **_: object) -> None:
        self.statements.append(statement)


def _execute(connection: Connection, schemas: Schemas) -> None:
    """Send all statements at once: there are hundreds, and each round trip takes time."""
    savepoint = connection.begin_nested()
    try:
        sqlfile.execute_on(connection, DEPLOYED.rename(schemas, ";\n".join(declared_statements())))
    except DBAPIError:
        savepoint.rollback()
        _find_error(connection, schemas)
        raise
    savepoint.commit()


def _find_error(connection: Connection, schemas: Schemas) -> None:
    """Say which declaration it is that PostgreSQL refuses."""
    files = {each.text: f"sql/{each.path}" for each in sqlfile.load_objects()}
    for declaration in declared_statements():
        try:
            sqlfile.execute_on(connection, DEPLOYED.rename(schemas, declaration))
        except DBAPIError as error:
            raise SchemaError(
                f"PostgreSQL refuses {files.get(declaration, declaration)}: "
                f"{database.server_message(error)}.",
                "Correct the SQL file, or the model that it comes from.",
            ) from error


def restore(connection: Connection, schemas: Schemas, names: Collection[str]) -> None:
    """Make objects again from what PostgreSQL says they are, as restoring a dump would.

    Args:
        connection: The database.
        schemas: The declared schema, as from `made`.
        names: Names of constraints, indexes, views, triggers and policies; others are left alone.
    """
    connection.execute(text(f"SET LOCAL search_path = {schemas.main}"))
    for statements in connection.scalars(statement("dumped"), {"names": list(names)}).all():
        sqlfile.execute_on(connection, statements)
