"""The comparison of a database with what the models and the SQL files declare."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import text

from honua_schema.autogenerate import catalog, differences, shadow

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from honua_schema.autogenerate.catalog import Catalog, Key
    from honua_schema.autogenerate.differences import Difference

# Reading a view waits for whoever changes its table just now.
LIMIT_WAITING = text("SET LOCAL lock_timeout = '5s'")
SPELLED = ("definition", "using", "check")
"""Properties that PostgreSQL may spell otherwise once a dump has been restored."""
TODAY = text("SELECT CAST(now() AT TIME ZONE 'UTC' AS date)")

# Roles belong to the server: they cannot be made a second time.
GROUP_ROLES = {
    catalog.Identity("role", None, name): {"attributes": "NOLOGIN"} for name in catalog.group_roles()
}


@dataclass(frozen=True)
class Comparison:
    """What a comparison of a database with the declarations shows.

    Attributes:
        declared: What the models and the SQL files say.
        deployed: What is in the database.
        differences: Where the two differ.
        dependencies: Pairs of objects of the database: the first needs the second.
    """

    declared: Catalog
    deployed: Catalog
    differences: list[Difference]
    dependencies: list[tuple[Key, Key]]


def compare(connection: Connection) -> Comparison:
    """Compare a database with the models and the SQL files.

    Takes no lock that others would wait for, and leaves the database as it was.

    Args:
        connection: The database. A transaction that had begun goes on.

    Raises:
        SchemaError: The role may not create a schema, or a declaration is not what PostgreSQL understands.
    """
    with shadow.rolled_back(connection), shadow.made(connection) as schemas:
        return compare_with(connection, schemas)


def compare_with(connection: Connection, schemas: catalog.Schemas) -> Comparison:
    """Compare a database with the declared schema that `shadow.made` has made in it.

    Args:
        connection: The database.
        schemas: The declared schema.
    """
    with shadow.rolled_back(connection):
        connection.execute(LIMIT_WAITING)
        today = connection.execute(TODAY).scalar_one()
        deployed = catalog.read(connection)
        dependencies = catalog.read_dependencies(connection)
        declared = catalog.read(connection, schemas) | GROUP_ROLES
        found = differences.find(declared, deployed, today)
        spelled = {
            each.name for each in found if each.aspect in SPELLED and None not in {each.declared, each.found}
        }
        if spelled:
            shadow.restore(connection, schemas, spelled)
            restored = catalog.read(connection, schemas) | GROUP_ROLES
            remaining = differences.find(restored, deployed, today)
            still_different = {(each.identity, each.aspect) for each in remaining}
            found = [each for each in found if (each.identity, each.aspect) in still_different]
    return Comparison(declared, deployed, found, dependencies)
