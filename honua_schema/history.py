"""The table schema_migrations: which revision was applied, when, by whom, and from which files."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, cast

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    DateTime,
    Integer,
    MetaData,
    String,
    Table,
    delete,
    func,
    literal_column,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import insert

if TYPE_CHECKING:
    from collections.abc import Mapping

    from alembic.runtime.migration import MigrationContext, MigrationInfo
    from alembic.script import Script, ScriptDirectory

# Not the model: that may be newer than the table, and `alembic upgrade` need not load the models.
schema_migrations = Table(
    "schema_migrations",
    MetaData(),
    Column("version", String(50), primary_key=True),
    Column("name", String(255)),
    Column("applied_at", DateTime(timezone=True)),
    Column("applied_by", String(100)),
    Column("checksum", String(64)),
    Column("execution_time_ms", Integer),
)

HAS_TABLE = text("""
    SELECT EXISTS (
        SELECT
        FROM pg_attribute
        WHERE pg_attribute.attrelid = to_regclass('public.schema_migrations')
          AND pg_attribute.attname = 'checksum'
    )
""")

# In a script nobody is there to measure, so the server does.
SERVER_EXECUTION_TIME_MS: ColumnElement[int] = literal_column(
    "CAST(1000 * extract(epoch FROM clock_timestamp() - transaction_timestamp()) AS integer)", Integer
)


def revision_name(revision: Script) -> str:
    """Return the name of a revision: what follows its number in the file name, such as ``initial_schema``.

    Args:
        revision: The revision.
    """
    return Path(revision.path).stem.removeprefix(f"{revision.revision}_")


def checksum(revision: Script) -> str:
    """Return the SHA-256, in hexadecimal, of all files that a revision consists of.

    These are its Python file and the SQL files in ``sql/<revision>/`` beside it. Line endings don't count, so
    that a checkout on another system has the same checksum; names of files do.

    Args:
        revision: The revision.
    """
    file = Path(revision.path)
    frozen = (file.parent / "sql" / revision.revision).rglob("*.sql")
    parts = sorted((sql.relative_to(file.parent).as_posix(), sql) for sql in frozen)
    digest = hashlib.sha256()
    for name, path in [(file.name, file), *parts]:
        content = path.read_bytes().replace(b"\r\n", b"\n")
        # The length keeps the end of one file apart from the beginning of the next.
        digest.update(f"{name}\n{len(content)}\n".encode() + content)
    return digest.hexdigest()


def has_table(connection: Connection) -> bool:
    """Return whether schema_migrations exists. Other projects have a table of this name, without checksums.

    Args:
        connection: The database to look at.
    """
    return bool(connection.scalar(HAS_TABLE))


def recorded_checksums(connection: Connection) -> dict[str, str]:
    """Return the checksum of each version in schema_migrations; nothing where the table is missing.

    Args:
        connection: The database to read.
    """
    if not has_table(connection):
        return {}
    columns = schema_migrations.c
    return dict(connection.execute(select(columns.version, columns.checksum)).all())


def edited_revisions(recorded: Mapping[str, str], scripts: ScriptDirectory) -> list[Script]:
    """Return the applied revisions whose files are no longer those that were applied, in order.

    Args:
        recorded: Checksum of each applied version, as `recorded_checksums` returns them.
        scripts: The revisions of this package.
    """
    return [
        script
        for script in reversed(list(scripts.walk_revisions()))
        if recorded.get(script.revision) not in {None, checksum(script)}
    ]


def record(context: MigrationContext, step: MigrationInfo, execution_time_ms: int = 0) -> None:
    """Bring schema_migrations up to date with a step, in the transaction of that step.

    Args:
        context: Where the step was made; offline, the statements are written to the script.
        step: What was applied, taken back or stamped.
        execution_time_ms: How long the step took, in milliseconds. Offline the server measures.
    """
    scripts = cast("ScriptDirectory", context.script)
    if step.is_stamp:
        _record_stamp(context, scripts, step.destination_revision_ids)
    elif step.is_upgrade:
        for revision in scripts.get_revisions(step.up_revision_ids):
            _insert(context, revision, SERVER_EXECUTION_TIME_MS if context.as_sql else execution_time_ms)
    elif step.down_revision_ids:
        context.execute(
            delete(schema_migrations).where(schema_migrations.c.version.in_(step.up_revision_ids))
        )
    # else the first revision was taken back, and the table went with it.


def _record_stamp(context: MigrationContext, scripts: ScriptDirectory, stamped: tuple[str, ...]) -> None:
    """Record every revision up to the stamped one, which may be many, and no other."""
    if not stamped and not context.as_sql and not has_table(cast("Connection", context.connection)):
        return
    revisions = [revision for version in stamped for revision in scripts.walk_revisions("base", version)]
    context.execute(
        delete(schema_migrations).where(
            schema_migrations.c.version.not_in([each.revision for each in revisions])
        )
    )
    for revision in reversed(revisions):
        _insert(context, revision, 0, keep_existing=True)


def _insert(
    context: MigrationContext,
    revision: Script,
    execution_time_ms: ColumnElement[int] | int,
    *,
    keep_existing: bool = False,
) -> None:
    values = {
        "name": revision_name(revision),
        "checksum": checksum(revision),
        "execution_time_ms": execution_time_ms,
    }
    statement = insert(schema_migrations).values(version=revision.revision, **values)
    if keep_existing:
        context.execute(statement.on_conflict_do_nothing())
    else:
        updated = {**values, "applied_at": func.now()}
        context.execute(statement.on_conflict_do_update(index_elements=["version"], set_=updated))
