"""Changes of big tables that let others go on working; each belongs into a revision of its own.

They commit in between, and so can end half done. Run again, a revision made of them takes up where it ended.
In a transaction that the caller of the upgrade began, they do the same at once, and others wait.
"""

from __future__ import annotations

import logging
import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alembic import op
from alembic.operations.ops import CreateIndexOp
from sqlalchemy.schema import CreateIndex

from honua_schema import sqlfile

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from psycopg.errors import Diagnostic

log = logging.getLogger("honua_schema")

BACKFILL = Path(__file__).with_name("backfill.sql")


def create_index(
    name: str,
    table: str,
    columns: Sequence[Any],
    *,
    unique: bool = False,
    partitioned: bool = False,
    **options: Any,
) -> None:
    """Create an index while others write to the table. What an earlier attempt left behind is removed first.

    Args:
        name: The index's name.
        table: The table's name.
        columns: Names of columns, or expressions as `sqlalchemy.text`.
        unique: Whether values may occur once only.
        partitioned: Whether the table is partitioned: then each partition gets its index by itself.
        **options: Options of PostgreSQL, such as ``postgresql_where`` and ``postgresql_include``.
    """
    if not _may_commit():
        op.create_index(name, table, columns, unique=unique, **options)
    elif partitioned:
        _create_partitioned_index(name, table, columns, unique=unique, **options)
    else:
        with _autocommit():
            _drop_invalid_index(name)
            sqlfile.execute(_index_statement(name, table, columns, unique=unique, **options))


def _create_partitioned_index(name: str, table: str, columns: Sequence[Any], **options: Any) -> None:
    if op.get_context().as_sql:
        op.create_index(name, table, columns, **options)  # which partitions there are, nobody can know
        return
    with _autocommit():
        statement = _index_statement(name, table, columns, concurrently=False, **options)
        # Without its partitions; those that are made from now on have the index from the start.
        sqlfile.execute(statement.replace(f" ON public.{table} ", f" ON ONLY public.{table} ", 1))
        for schema, partition in _partitions(table):
            own_name = f"{partition}_{name}"[:63]
            _drop_invalid_index(own_name, schema)
            sqlfile.execute(_index_statement(own_name, partition, columns, schema=schema, **options))
            sqlfile.execute(f"ALTER INDEX public.{name} ATTACH PARTITION {schema}.{own_name};")


def _index_statement(
    name: str,
    table: str,
    columns: Sequence[Any],
    *,
    schema: str = "public",
    concurrently: bool = True,
    **options: Any,
) -> str:
    if concurrently:
        options["postgresql_concurrently"] = True
    context = op.get_context()
    operation = CreateIndexOp(name, table, columns, schema=schema, if_not_exists=True, **options)
    index = operation.to_index(context)
    return f"{CreateIndex(index, if_not_exists=True).compile(dialect=context.dialect)};"


def _partitions(table: str) -> list[tuple[str, str]]:
    rows = op.get_bind().exec_driver_sql(
        """
        SELECT n.nspname, c.relname
        FROM pg_inherits AS i
        JOIN pg_class AS c ON c.oid = i.inhrelid
        JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE i.inhparent = CAST(%s AS regclass)
        ORDER BY n.nspname, c.relname
        """,
        (f"public.{table}",),
    )
    return [(row[0], row[1]) for row in rows]


def _drop_invalid_index(name: str, schema: str = "public") -> None:
    """Remove an index that was not built to the end; a script, which cannot look, removes it in any case."""
    if not op.get_context().as_sql:
        is_invalid = op.get_bind().exec_driver_sql(
            "SELECT FROM pg_index AS i WHERE i.indexrelid = to_regclass(%s) AND NOT i.indisvalid",
            (f"{schema}.{name}",),
        )
        if is_invalid.first() is None:
            return
    sqlfile.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {schema}.{name};")


def drop_index(name: str) -> None:
    """Drop an index without waiting for those who use its table, or making others wait.

    Args:
        name: The index's name. That of a partitioned table can only be dropped with ``op.drop_index``.
    """
    if _may_commit():
        with _autocommit():
            sqlfile.execute(f"DROP INDEX CONCURRENTLY IF EXISTS public.{name};")
    else:
        op.drop_index(name)


def add_constraint(name: str, table: str, definition: str) -> None:
    """Add a CHECK or a foreign key: new rows obey at once, and the others are checked while writers go on.

    Args:
        name: The constraint's name.
        table: The table's name.
        definition: What follows the name, such as ``CHECK (priority > 0)``.
    """
    if op.get_context().as_sql or not _has_constraint(name, table):
        sqlfile.execute(f"ALTER TABLE public.{table} ADD CONSTRAINT {name} {definition} NOT VALID;")
    if _may_commit():
        with _autocommit():
            sqlfile.execute(f"ALTER TABLE public.{table} VALIDATE CONSTRAINT {name};")
    else:
        sqlfile.execute(f"ALTER TABLE public.{table} VALIDATE CONSTRAINT {name};")


def _has_constraint(name: str, table: str) -> bool:
    found = op.get_bind().exec_driver_sql(
        "SELECT FROM pg_constraint AS c WHERE c.conrelid = CAST(%s AS regclass) AND c.conname = %s",
        (f"public.{table}", name),
    )
    return found.first() is not None


def set_not_null(table: str, column: str) -> None:
    """Require a value in a column; the rows are checked while writers go on.

    Args:
        table: The table's name.
        column: The column's name; no row may have NULL in it.
    """
    check = f"{table}_{column}_is_given"[:63]
    add_constraint(check, table, f"CHECK ({column} IS NOT NULL)")
    # PostgreSQL believes the constraint, and does not read the table again.
    sqlfile.execute(
        f"ALTER TABLE public.{table} ALTER COLUMN {column} SET NOT NULL;\n"
        "-- squawk-ignore ban-drop-constraint\n"
        f"ALTER TABLE public.{table} DROP CONSTRAINT {check};"
    )


def backfill(
    table: str, assignments: str, *, where: str, batch_size: int = 5000, pause: float = 0.05
) -> None:
    """Update many rows in batches in the order of the primary key, each of them committed.

    Args:
        table: The table's name; it has a primary key.
        assignments: What to set, such as ``tier = 'core'``.
        where: Which rows are still to be done; ``t`` is the table. Once done, a row must no longer be among
            them: so a second run does what the first one left.
        batch_size: Rows in a batch.
        pause: Seconds to wait after each batch, for others to have their turn.
    """
    if not _may_commit():
        sqlfile.execute(f"UPDATE public.{table} AS t SET {assignments} WHERE {where};")  # noqa: S608 - of the author
        return
    template = BACKFILL.read_text(encoding="utf-8")
    values = {
        "table": f"public.{table}",
        "condition": where,
        "assignments": assignments,
        "batch_size": str(batch_size),
        "pause": str(pause),
    }
    statement = re.sub(r"{(\w+)}", lambda placeholder: values[placeholder[1]], template)
    with _autocommit(), _logged_notices():
        sqlfile.execute(statement)


def _may_commit() -> bool:
    """Return whether the transaction is Alembic's own."""
    # There is no public way to ask.
    return not op.get_context()._in_external_transaction


@contextmanager
def _autocommit() -> Iterator[None]:
    with op.get_context().autocommit_block():
        yield


@contextmanager
def _logged_notices() -> Iterator[None]:
    """Write what the server reports to the log."""
    if op.get_context().as_sql:
        yield
        return
    driver: Any = op.get_bind().connection.dbapi_connection

    def write(notice: Diagnostic) -> None:
        log.info("%s", notice.message_primary)

    driver.add_notice_handler(write)
    try:
        yield
    finally:
        driver.remove_notice_handler(write)
