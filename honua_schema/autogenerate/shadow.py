"""The declared schema, made in a database beside the deployed one, read, and undone.

What PostgreSQL makes of a declaration depends on nothing but PostgreSQL, so what differs from the deployed
schema differs in truth. Only new objects are locked: whoever uses the deployed ones is not held up.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import event, func, select, text
from sqlalchemy.exc import DBAPIError

from honua_schema import database, sqlfile
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
    # Everybody may use the schema public.
    connection.execute(text(f"GRANT USAGE ON SCHEMA {schemas.main} TO PUBLIC"))
    connection.execute(text(f"SET LOCAL search_path = {schemas.main}"))
    # The bodies name tables of the deployed schema as long as they are not called.
    with _redirected(connection, schemas), _explained(schemas):
        create_all(connection)
    yield schemas


@contextmanager
def _redirected(connection: Connection, schemas: Schemas) -> Iterator[None]:
    """Let each statement name other schemas than the deployed ones."""

    def redirect(_: Connection, __: Any, statement: str, parameters: Any, *___: Any) -> tuple[str, Any]:
        return DEPLOYED.rename(schemas, statement), parameters

    event.listen(connection, "before_cursor_execute", redirect, retval=True)
    try:
        yield
    finally:
        event.remove(connection, "before_cursor_execute", redirect)


@contextmanager
def _explained(schemas: Schemas) -> Iterator[None]:
    """Say which file PostgreSQL refuses."""
    try:
        yield
    except DBAPIError as error:
        for each in sqlfile.load_objects():
            if DEPLOYED.rename(schemas, each.text) == error.statement:
                raise SchemaError(
                    f"PostgreSQL refuses sql/{each.path}: {database.server_message(error)}.",
                    "Correct the file, or the models that it refers to.",
                ) from error
        raise


def restore(connection: Connection, names: Collection[str]) -> None:
    """Make objects again from what PostgreSQL says they are, as restoring a dump would.

    Args:
        connection: A connection within `made`.
        names: Names of constraints, indexes, views, triggers and policies; others are left alone.
    """
    for statements in connection.scalars(DUMPED, {"names": list(names)}).all():
        sqlfile.execute_on(connection, statements)
