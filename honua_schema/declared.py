"""The declared schema, made without revisions: for tests, and to compare the revisions with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import PrimaryKeyConstraint, UniqueConstraint

from honua_schema import privileges, sqlfile
from honua_schema.models import Base
from honua_schema.models.base import domains

if TYPE_CHECKING:
    from sqlalchemy import Connection


def create_all(connection: Connection) -> None:
    """Create all tables, functions, views and triggers in an empty database.

    What results equals `alembic upgrade head`, except for the histories in alembic_version and
    schema_migrations. A database that is to live on is made by revisions.

    Args:
        connection: A connection to an empty database; the caller commits.

    Raises:
        sqlalchemy.exc.ProgrammingError: The database has tables of these names already.
    """
    objects = sqlfile.load_objects()
    for each in objects:
        if each.kind == "script":
            sqlfile.execute_on(connection, each.text)
    Base.metadata.create_all(connection, checkfirst=False)
    for each in objects:
        if each.kind != "script":
            sqlfile.execute_on(connection, each.text)


def relation_names() -> set[str]:
    """Return the names of tables, indexes, sequences, views and domains: no two of them may have the same."""
    manifest = privileges.parse((sqlfile.CURRENT / sqlfile.MANIFEST).read_text(encoding="utf-8"))
    tables = Base.metadata.tables.values()
    keys = [
        each
        for table in tables
        for each in table.constraints
        if isinstance(each, PrimaryKeyConstraint | UniqueConstraint)
    ]
    return {
        *Base.metadata.tables,
        *domains(),
        *manifest.views,
        *manifest.sequences,
        *(str(index.name) for table in tables for index in table.indexes),
        *(str(each.name) for each in keys),
    }
