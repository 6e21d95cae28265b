"""Everything a schema consists of, as the catalogs of PostgreSQL tell it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import TextClause, text

from honua_schema import privileges, sqlfile
from honua_schema.models.base import PARTITION_SCHEMA, Base

if TYPE_CHECKING:
    from sqlalchemy import Connection

# How PostgreSQL spells expressions, names and times depends on most of these.
SETTINGS = text("""
    SELECT
        set_config('search_path', quote_ident(:main), true),
        set_config('TimeZone', 'UTC', true),
        set_config('DateStyle', 'ISO, YMD', true),
        set_config('IntervalStyle', 'postgres', true),
        set_config('bytea_output', 'hex', true),
        set_config('extra_float_digits', '1', true),
        set_config('quote_all_identifiers', 'off', true),
        set_config('jit', 'off', true)  -- compiling such a query takes longer than the query
""")


RELATIONS = ("table", "view", "materialized view", "foreign table")
"""Kinds of object that others can belong to."""


class Identity(NamedTuple):
    """What object it is.

    Attributes:
        kind: Such as table, column, constraint, index, trigger, policy, view or function.
        table: The table or view that the object belongs to, or that a partition is part of; otherwise None.
        name: The object's name; that of a function with the types of its arguments.
    """

    kind: str
    table: str | None
    name: str

    def __str__(self) -> str:
        if self.table is None or self.is_relation:
            return f"{self.kind} {self.name}"
        return f"{self.kind} {self.table}.{self.name}"

    @property
    def is_relation(self) -> bool:
        """Whether others can belong to it."""
        return self.kind in RELATIONS

    @property
    def is_partition(self) -> bool:
        """Whether it is part of a partitioned table."""
        return self.is_relation and self.table is not None

    @property
    def sort_key(self) -> tuple[str, bool, str, str]:
        """Sorts each table, view or function by name, and after it what belongs to it."""
        return self.name if self.is_relation else self.table or self.name, not self.is_relation, *self[::2]


Key = tuple[str, str | None, str]
"""Kind, table and name, as in `Identity`, but a function goes without its arguments."""

Properties = dict[str, str]
"""What PostgreSQL says of an object, by the name of the property; what it does not have is absent."""
Catalog = dict[Identity, Properties]


@dataclass(frozen=True)
class Schemas:
    """Where a schema is in a database.

    Attributes:
        main: The schema with the tables, functions, views and triggers.
        partitions: The schema with the partitions of its tables.
    """

    main: str = "public"
    partitions: str = PARTITION_SCHEMA

    def rename(self, other: Schemas, text: str) -> str:
        """Put the names of other schemas in place of these in a text.

        Args:
            other: The schemas to name.
            text: SQL as people or PostgreSQL write it. A role of that name, PUBLIC, is in capitals there.
        """
        names = {self.main: other.main, self.partitions: other.partitions}
        return re.sub(rf"\b({self.main}|{self.partitions})\b", lambda match: names[match[1]], text)


DEPLOYED = Schemas()


def read(connection: Connection, schemas: Schemas = DEPLOYED) -> Catalog:
    """Read all objects of a schema, except those that belong to extensions.

    Settings of the transaction are changed; the caller rolls back, if only to a savepoint.

    Args:
        connection: The database.
        schemas: The schema to read. In what is returned it goes by its usual name.
    """
    connection.execute(SETTINGS, {"main": schemas.main})
    rows = connection.execute(
        statement("catalog"),
        {
            "main": schemas.main,
            "partitions": schemas.partitions,
            "tables": list(Base.metadata.tables),
            "roles": list(group_roles()),
        },
    )

    def usual(text: str) -> str:
        return text if schemas == DEPLOYED else schemas.rename(DEPLOYED, text)

    return {
        Identity(row.kind, row.table_name and usual(row.table_name), usual(row.name)): {
            name: usual(str(value)) for name, value in row.properties.items()
        }
        for row in rows
    }


@cache
def group_roles() -> tuple[str, ...]:
    """Return the roles that the manifest of privileges declares: each exists, and is nothing but a group."""
    manifest = sqlfile.CURRENT / sqlfile.MANIFEST
    return privileges.parse(manifest.read_text(encoding="utf-8")).roles


def read_dependencies(connection: Connection) -> list[tuple[Key, Key]]:
    """Return pairs of objects: the first, a function, view, trigger or policy, needs the second.

    Args:
        connection: The database.
    """
    rows = connection.execute(statement("dependencies"), {"main": DEPLOYED.main})
    return [
        ((row.kind, row.table_name, row.name), (row.needed_kind, row.needed_table, row.needed_name))
        for row in rows
    ]


@cache
def statement(name: str) -> TextClause:
    """Return a statement of this package's SQL files.

    Args:
        name: Name of the file.
    """
    return text(Path(__file__).with_name(f"{name}.sql").read_text(encoding="utf-8"))
