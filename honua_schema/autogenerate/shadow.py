"""The declared schema, made in a database beside the deployed one, read, and undone.

What PostgreSQL makes of a declaration depends on nothing but PostgreSQL, so what differs from the deployed
schema differs in truth. Only new objects are locked: whoever uses the deployed ones is not held up.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, cast

from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.engine.mock import MockConnection
from sqlalchemy.exc import DBAPIError

from honua_schema import database, locking, sqlfile
from honua_schema.autogenerate.catalog import DEPLOYED, Schemas
from honua_schema.declared import create_all
from honua_schema.errors import SchemaError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from sqlalchemy import Connection

INSUFFICIENT_PRIVILEGE = "42501"

# PostgreSQL does not read back all that it writes: IN ('a') on a varchar becomes = ANY (ARRAY['a']::text[]),
# and that, read again, comes out as another cast. So a restored dump has other texts for the same thing.
DUMPED = text("""
    SELECT format(
        'ALTER TABLE %1$s DROP CONSTRAINT %2$I; ALTER TABLE %1$s ADD CONSTRAINT %2$I %3$s',
        CAST(c.conrelid AS regclass), c.conname, pg_get_constraintdef(c.oid)
    )
    FROM pg_constraint AS c
    WHERE c.connamespace = current_schema()::regnamespace AND c.contype = 'c' AND c.conname = ANY (:names)
    UNION ALL
    SELECT format(
        'DROP INDEX %s; %s',
        CAST(i.indexrelid AS regclass),
        replace(pg_get_indexdef(i.indexrelid), ' ON ONLY ', ' ON ')
    )
    FROM pg_index AS i
    JOIN pg_class AS c ON c.oid = i.indexrelid
    WHERE c.relnamespace = current_schema()::regnamespace AND c.relname = ANY (:names)
      AND (i.indpred IS NOT NULL OR i.indexprs IS NOT NULL)
    UNION ALL
    SELECT format('CREATE OR REPLACE VIEW %s AS %s', CAST(c.oid AS regclass), pg_get_viewdef(c.oid))
    FROM pg_class AS c
    WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'v' AND c.relname = ANY (:names)
    UNION ALL
    SELECT format(
        'DROP TRIGGER %I ON %s; %s', g.tgname, CAST(g.tgrelid AS regclass), pg_get_triggerdef(g.oid)
    )
    FROM pg_trigger AS g
    JOIN pg_class AS c ON c.oid = g.tgrelid
    WHERE c.relnamespace = current_schema()::regnamespace AND NOT g.tgisinternal AND g.tgname = ANY (:names)
    UNION ALL
    SELECT format('ALTER POLICY %I ON %s', p.polname, CAST(p.polrelid AS regclass))
        || coalesce(' USING (' || pg_get_expr(p.polqual, p.polrelid) || ')', '')
        || coalesce(' WITH CHECK (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')', '')
    FROM pg_policy AS p
    JOIN pg_class AS c ON c.oid = p.polrelid
    WHERE c.relnamespace = current_schema()::regnamespace AND p.polname = ANY (:names)
""")


@contextmanager
def rolled_back(connection: Connection) -> Iterator[None]:
    """Undo whatever the block does in the database, settings included.

    Args:
        connection: The database. A transaction that had begun goes on.
    """
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
        SchemaError: The role may not create a schema, a declaration is not what PostgreSQL understands, or
            the connection is in autocommit mode.
    """
    if locking.is_autocommit(connection):
        raise SchemaError(
            "The connection is in autocommit mode, in which nothing is rolled back.",
            "Pass a connection without AUTOCOMMIT, or an engine.",
        )
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
    # Everybody may use the schema public.
    connection.execute(text(f"GRANT USAGE ON SCHEMA {schemas.main} TO PUBLIC"))
    connection.execute(text(f"SET LOCAL search_path = {schemas.main}"))
    _execute(connection, [DEPLOYED.rename(schemas, statement) for statement in declared_statements()])
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
        dialect = PGDialect_psycopg(paramstyle="named")  # type: ignore[no-untyped-call]  # else % is doubled
        super().__init__(dialect, lambda ddl, *_: self.statements.append(str(ddl.compile(dialect=dialect))))
        self.statements: list[str] = []

    def exec_driver_sql(self, statement: str, **_: object) -> None:
        self.statements.append(statement)


def _execute(connection: Connection, statements: Collection[str]) -> None:
    """Send all statements at once: there are hundreds, and each round trip takes time."""
    savepoint = connection.begin_nested()
    try:
        sqlfile.execute_on(connection, ";\n".join(statements))
    except DBAPIError:
        savepoint.rollback()
        for statement in statements:
            try:
                sqlfile.execute_on(connection, statement)
            except DBAPIError as error:
                raise SchemaError(
                    f"PostgreSQL refuses a declaration: {database.server_message(error)}."
                    f"\n{statement.strip()}",
                    "Correct the SQL file or the model that it comes from.",
                ) from error
        raise
    savepoint.commit()


def restore(connection: Connection, schemas: Schemas, names: Collection[str]) -> None:
    """Make objects again from what PostgreSQL says they are, as restoring a dump would.

    Args:
        connection: The database.
        schemas: The declared schema, as from `made`.
        names: Names of constraints, indexes, views, triggers and policies; others are left alone.
    """
    connection.execute(text(f"SET LOCAL search_path = {schemas.main}"))
    for statements in connection.scalars(DUMPED, {"names": list(names)}).all():
        sqlfile.execute_on(connection, statements)
