"""From differences to the operations that a revision needs.

In upgrade() that is, in this order: drop what is gone or cannot be replaced, change the tables, create and
replace, grant. downgrade() does the opposite in the opposite order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from alembic.operations import ops

from honua_schema import sqlfile
from honua_schema.autogenerate import statements
from honua_schema.autogenerate.operations import (
    CreateSqlObjectOp,
    DropSqlObjectOp,
    ExecuteStatementsOp,
    FrozenCopy,
    ReplaceSqlObjectOp,
)
from honua_schema.models import Base

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from alembic.operations.ops import MigrateOperation

    from honua_schema.autogenerate.catalog import Identity, Key, Properties
    from honua_schema.autogenerate.comparison import Comparison
    from honua_schema.autogenerate.differences import Difference
    from honua_schema.sqlfile import SqlObject

OF_SITE = ("owner", "grants")
"""Properties that an SQL file does not make."""


def key_of(identity: Identity) -> Key:
    """Return the key of the object that an identity is, or belongs to in the case of a view's column.

    Args:
        identity: What the catalog names.
    """
    kind = "function" if identity.kind == "procedure" else identity.kind
    return kind, identity.table, identity.name.partition("(")[0]


@dataclass
class SqlObjectPlan:
    """What happens to the functions, views, triggers and other objects that SQL files declare.

    Attributes:
        before: Operations that come before those on tables.
        after: Operations that come after those on tables.
        recreated: Objects that are dropped and made again, and so lose their grants.
    """

    before: list[MigrateOperation]
    after: list[MigrateOperation]
    recreated: set[Key]


def plan_sql_objects(
    comparison: Comparison,
    declared: Iterable[SqlObject],
    frozen: Mapping[Key, FrozenCopy],
    table_operations: Iterable[Any],
) -> SqlObjectPlan:
    """Work out how the declared SQL objects come about.

    Args:
        comparison: Where the database differs.
        declared: The objects of the current SQL files.
        frozen: The newest frozen copy of each object that a revision ever made.
        table_operations: What Alembic found to be done with tables.
    """
    current = {(each.kind, each.table, each.name): each for each in declared if each.kind != "script"}
    existing = {key_of(identity) for identity in comparison.deployed}
    changed = {
        key
        for difference in comparison.differences
        if difference.aspect not in OF_SITE
        for key in _owners_of(difference.identity)
        if key in current and key in existing
    }
    removed = {key for key in frozen if key in existing and key not in current}
    altered = set(_altered(table_operations))
    unreplaceable = {key for key in changed if not _is_replaceable(key, comparison, has_losses=bool(altered))}
    dropped = _with_dependents(removed | unreplaceable, altered, comparison.dependencies, frozen)

    def copy_of(key: Key) -> FrozenCopy:
        known = frozen.get(key)
        if known and known.object.text == current[key].text:
            return known
        return FrozenCopy(current[key])

    drops = [
        DropSqlObjectOp(frozen[key])
        for key in reversed(_ordered([frozen[key].object for key in dropped & existing]))
    ]
    creations: list[MigrateOperation] = []
    for key in _ordered(current.values()):
        if key in changed and key not in dropped and key in frozen:
            creations.append(ReplaceSqlObjectOp(copy_of(key), frozen[key]))
        elif key not in existing or key in dropped | changed:
            creations.append(CreateSqlObjectOp(copy_of(key)))
    return SqlObjectPlan(list(drops), creations, dropped & current.keys())


def _ordered(objects: Iterable[SqlObject]) -> list[Key]:
    return [(each.kind, each.table, each.name) for each in sqlfile.in_order(objects)]


def _owners_of(identity: Identity) -> list[Key]:
    """Return what a difference may be a difference of: the object, or the view whose column it is."""
    keys = [key_of(identity)]
    if identity.table:
        keys.append(("view", None, identity.table))
    return keys


def _altered(operations: Iterable[Any]) -> Iterator[Key]:
    """Yield the columns and tables that PostgreSQL won't change while something depends on them."""
    for operation in operations:
        match operation:
            case ops.DropColumnOp():
                yield "column", operation.table_name, operation.column_name
            case ops.AlterColumnOp() if operation.modify_type is not None:
                yield "column", operation.table_name, operation.column_name
            case ops.DropTableOp():
                yield "table", None, operation.table_name


def _is_replaceable(key: Key, comparison: Comparison, *, has_losses: bool) -> bool:
    """Return whether CREATE OR REPLACE can turn the deployed object into the declared one, and back."""
    kind = key[0]
    before, after = (
        {identity: each for identity, each in catalog.items() if key in _owners_of(identity)}
        for catalog in (comparison.deployed, comparison.declared)
    )
    match kind:
        case "trigger":
            return not any(
                "CONSTRAINT TRIGGER" in each["definition"] for each in (*before.values(), *after.values())
            )
        case "view":
            return _select(before, "type", "position") == _select(after, "type", "position")
        case "function":
            # PostgreSQL checks the body of an SQL function against the tables as they are at that moment.
            is_checked = any(each["language"] == "sql" for each in before.values())
            signature = ("arguments", "result")
            return _select(before, *signature) == _select(after, *signature) and not (
                is_checked and has_losses
            )
    return False


def _select(objects: Mapping[Identity, Properties], *names: str) -> dict[Identity, list[str | None]]:
    return {identity: [each.get(name) for name in names] for identity, each in objects.items()}


def _with_dependents(
    seeds: Collection[Key],
    altered: Collection[Key],
    dependencies: Collection[tuple[Key, Key]],
    ours: Collection[Key],
) -> set[Key]:
    """Return the seeds and whatever of ours depends on them, or on an altered column or table."""
    found, pending = set(seeds), [*seeds, *altered]
    while pending:
        needed = pending.pop()
        new = {
            dependent for dependent, needs in dependencies if needs == needed and dependent in ours
        } - found
        found |= new
        pending += new
    return found


def plan_tables(
    comparison: Comparison, table_operations: Iterable[Any], reflect: Callable[[str], sa.Table]
) -> Iterator[MigrateOperation]:
    """Yield operations for what Alembic's own comparison of tables does not see.

    Args:
        comparison: Where the database differs.
        table_operations: What Alembic found to be done with tables.
        reflect: Returns a table as it is in the database.
    """
    planned = {
        getattr(each, "index_name", None) or getattr(each, "constraint_name", None)
        for each in table_operations
    }
    for difference in comparison.differences:
        identity = difference.identity
        if identity.is_partition and difference.aspect == "existence":
            yield from _create_partition(identity, comparison)
        elif identity.table not in Base.metadata.tables and identity.name not in Base.metadata.tables:
            continue
        elif identity.kind in {"constraint", "index"} and difference.aspect in {
            "existence",
            "definition",
            "valid",
        }:
            if identity.name not in planned:
                planned.add(identity.name)
                yield from _replace(identity, difference, reflect)
        elif difference.aspect not in OF_SITE:
            forward = statements.alter(identity, difference.aspect, difference.found, difference.declared)
            backward = statements.alter(identity, difference.aspect, difference.declared, difference.found)
            if forward and backward:
                yield ExecuteStatementsOp(identity, difference.aspect, forward, backward)


def _create_partition(identity: Identity, comparison: Comparison) -> Iterator[MigrateOperation]:
    if identity in comparison.declared and identity not in comparison.deployed:
        forward = statements.create_partition(identity, comparison.declared[identity])
        yield ExecuteStatementsOp(identity, "existence", forward, f"DROP TABLE {identity.name};")


def _replace(
    identity: Identity, difference: Difference, reflect: Callable[[str], sa.Table]
) -> Iterator[MigrateOperation]:
    """Yield operations that drop the constraint or index that is there and create the declared one."""
    table = str(identity.table)
    found = difference.found is not None and _find(reflect(table), identity)
    declared = difference.declared is not None and _find(Base.metadata.tables[table], identity)
    if (difference.found is not None and not found) or (difference.declared is not None and not declared):
        # An exclusion constraint, for example, is not reflected.
        yield from _replace_constraint_text(identity, difference)
        return
    if isinstance(found, sa.Index):
        yield ops.DropIndexOp.from_index(found)
    elif found:
        yield ops.DropConstraintOp.from_constraint(found)
    if isinstance(declared, sa.Index):
        yield ops.CreateIndexOp.from_index(declared)
    elif declared:
        yield ops.AddConstraintOp.from_constraint(declared)


def _find(table: sa.Table, identity: Identity) -> sa.Constraint | sa.Index | None:
    candidates = table.indexes if identity.kind == "index" else table.constraints
    return next((each for each in candidates if each.name == identity.name), None)


def _replace_constraint_text(identity: Identity, difference: Difference) -> Iterator[MigrateOperation]:
    if identity.kind != "constraint":
        return

    def replace(old: str | None, new: str | None) -> str:
        drop = f"ALTER TABLE {identity.table} DROP CONSTRAINT {identity.name};"
        add = f"ALTER TABLE {identity.table} ADD CONSTRAINT {identity.name} {new};"
        return "\n".join([*([drop] if old else []), *([add] if new else [])])

    forward, backward = (
        replace(difference.found, difference.declared),
        replace(difference.declared, difference.found),
    )
    yield ExecuteStatementsOp(identity, difference.aspect, forward, backward)


def plan_grants(
    comparison: Comparison, recreated: Collection[Key]
) -> tuple[list[MigrateOperation], list[MigrateOperation]]:
    """Return operations that restore and change grants: the first go before all others, the second after.

    Args:
        comparison: Where the database differs.
        recreated: Objects that are dropped and made again.
    """
    before: list[MigrateOperation] = []
    after: list[MigrateOperation] = []
    for identity, properties in comparison.declared.items():
        deployed = comparison.deployed.get(identity)
        is_recreated = any(key in recreated for key in _owners_of(identity))
        if deployed is None or is_recreated:
            if forward := statements.grants_of_new(identity, properties):
                after.append(ExecuteStatementsOp(identity, "grants", forward, ""))
            if deployed and (backward := statements.grants_of_new(identity, deployed)):
                before.append(ExecuteStatementsOp(identity, "grants", "", backward))
        elif forward := statements.alter(
            identity, "grants", deployed.get("grants"), properties.get("grants")
        ):
            backward = statements.alter(identity, "grants", properties.get("grants"), deployed.get("grants"))
            after.append(ExecuteStatementsOp(identity, "grants", forward, backward or ""))
    return before, after
