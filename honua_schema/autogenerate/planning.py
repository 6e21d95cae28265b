"""From differences to the operations that a revision needs.

In upgrade() that is, in this order: run changed scripts, drop what is gone or cannot be replaced, create
domains, change the tables, change and drop domains, create and replace, grant. downgrade() does the opposite
in the opposite order.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import sqlalchemy as sa
from alembic.operations import ops

from honua_schema import sqlfile
from honua_schema.autogenerate import statements
from honua_schema.autogenerate.catalog import Identity
from honua_schema.autogenerate.operations import (
    CreateSqlObjectOp,
    DropSqlObjectOp,
    ExecuteStatementsOp,
    FrozenCopy,
    ReplaceSqlObjectOp,
)
from honua_schema.models import Base
from honua_schema.models.base import domains

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from alembic.operations.ops import MigrateOperation

    from honua_schema.autogenerate.catalog import Catalog, Key, Properties
    from honua_schema.autogenerate.comparison import Comparison
    from honua_schema.autogenerate.differences import Difference
    from honua_schema.models.base import Domain
    from honua_schema.sqlfile import SqlObject

IN_FILES = ("function", "view", "trigger")
"""Kinds of object that have an SQL file each."""
APART = ("owner", "grants")
"""Properties that are not changed with the rest of an object."""


def plan(
    comparison: Comparison,
    declared: Iterable[SqlObject],
    frozen: Mapping[Key, FrozenCopy],
    table_operations: list[Any],
    reflect: Callable[[str], sa.Table],
) -> tuple[list[MigrateOperation], list[MigrateOperation]]:
    """Return the operations of upgrade() that come before and after those that Alembic found.

    Args:
        comparison: Where the database differs.
        declared: The objects of the current SQL files.
        frozen: The newest frozen copy of each object that a revision ever made.
        table_operations: What Alembic found to be done with tables.
        reflect: Returns a table as it is in the database.
    """
    _complete_reflected(comparison, table_operations)
    of_objects = _ObjectPlan(comparison, list(declared), frozen, table_operations)
    of_domains = _DomainPlan(comparison, table_operations)
    dropped_tables = _dropped_tables(table_operations)
    of_grants = _GrantPlan(comparison, of_objects.dropped, dropped_tables)
    before = [
        *of_objects.scripts(),
        *of_grants.restoring_in_downgrade(),
        *of_objects.policy_drops(),
        *of_objects.drops(),
        *of_domains.creations(),
        *_restoring_tables(comparison, dropped_tables),
    ]
    after = [
        *_plan_tables(comparison, table_operations, reflect),
        *of_domains.changes(),
        *of_domains.drops(),
        *of_objects.creations(),
        *of_objects.policy_creations(),
        *of_grants.granting(),
    ]
    return before, after


def _complete_reflected(comparison: Comparison, table_operations: Iterable[Any]) -> None:
    """Add what SQLAlchemy does not reflect, and downgrade() would not restore."""

    def deferral_of(table: str, name: object) -> dict[str, Any]:
        constraint = comparison.deployed.get(Identity("constraint", table, str(name)), {})
        return _deferral(constraint.get("definition", ""))

    for operation in table_operations:
        match operation:
            case ops.DropConstraintOp(_reverse=ops.CreateUniqueConstraintOp() as restoring):
                restoring.kw |= deferral_of(operation.table_name, operation.constraint_name)
            case ops.DropTableOp(table_name=name, _reverse=ops.CreateTableOp() as restoring):
                if key := comparison.deployed.get(Identity("table", None, name), {}).get("partition key"):
                    operation.table_kw["postgresql_partition_by"] = key
                for each in restoring.columns:
                    if isinstance(each, sa.UniqueConstraint):
                        _defer(each, deferral_of(name, each.name))


def _dropped_tables(table_operations: Iterable[Any]) -> set[str]:
    return {each.table_name for each in table_operations if isinstance(each, ops.DropTableOp)}


def _restoring_tables(comparison: Comparison, tables: Collection[str]) -> Iterator[MigrateOperation]:
    """Yield what downgrade() needs beyond Alembic's create_table; upgrade() drops it with the table."""
    for identity, deployed in comparison.deployed.items():
        if identity.kind == "table" and (identity.name in tables or identity.table in tables):
            for aspect, statement in _beyond_create_table(identity, deployed):
                yield ExecuteStatementsOp(identity, aspect, "", statement)


def _deferral(definition: str) -> dict[str, Any]:
    initially = {"initially": "DEFERRED"} if "INITIALLY DEFERRED" in definition else {}
    return {"deferrable": True, **initially} if " DEFERRABLE" in definition else {}


def _defer(constraint: sa.UniqueConstraint, deferral: Mapping[str, Any]) -> None:
    constraint.deferrable, constraint.initially = deferral.get("deferrable"), deferral.get("initially")


def _key_of(identity: Identity) -> Key:
    kind = "function" if identity.kind == "procedure" else identity.kind
    return kind, identity.table, identity.name.partition("(")[0]


def _owners_of(identity: Identity) -> list[Key]:
    """Return the keys of the object, and of the view whose column it may be."""
    return [_key_of(identity), *([("view", None, identity.table)] if identity.table else [])]


@dataclass(frozen=True)
class _ObjectPlan:
    """What happens to functions, views, triggers and policies."""

    comparison: Comparison
    declared: list[SqlObject]
    frozen: Mapping[Key, FrozenCopy]
    table_operations: list[Any]

    @cached_property
    def current(self) -> dict[Key, SqlObject]:
        return {each.key: each for each in self.declared if each.kind in IN_FILES}

    @cached_property
    def existing(self) -> set[Key]:
        return {_key_of(identity) for identity in self.comparison.deployed}

    @cached_property
    def changed(self) -> set[Key]:
        """What is there, but not as declared."""
        return {
            key
            for difference in self.comparison.differences
            if difference.aspect not in APART
            for key in _owners_of(difference.identity)
            if key in self.existing
            and (key in self.current or key in self._policies(self.comparison.declared))
        }

    @cached_property
    def dropped(self) -> set[Key]:
        """What has to go, if only to come back: what depends on something that goes, goes with it."""
        policies = self._policies(self.comparison.deployed)
        removed = {key for key in self.frozen if key[0] in IN_FILES and key not in self.current}
        removed |= policies - self._policies(self.comparison.declared)
        altered = {*_altered(self.table_operations), *_retyped(self.comparison)}
        names = {name for _, _, name in altered}
        unreplaceable = {key for key in self.changed if not _is_replaceable(key, self.comparison, names)}
        ours = self.frozen.keys() | policies
        found = (removed & self.existing) | (unreplaceable & ours)
        pending = [*found, *altered]
        while pending:
            needed = pending.pop()
            needing = {one for one, other in self.comparison.dependencies if other == needed}
            needing = needing & ours - found
            found |= needing
            pending += needing
        return found

    def scripts(self) -> Iterator[MigrateOperation]:
        for each in self.declared:
            if each.kind != "script":
                continue
            if each.key not in self.frozen:
                yield CreateSqlObjectOp(FrozenCopy(each))
            elif self.frozen[each.key].object.text != each.text:
                yield ReplaceSqlObjectOp(FrozenCopy(each), self.frozen[each.key])

    def drops(self) -> Iterator[MigrateOperation]:
        copies = [self.frozen[key] for key in self.dropped if key[0] in IN_FILES]
        by_key = {copy.object.key: copy for copy in copies}
        for each in reversed(sqlfile.in_order(copy.object for copy in copies)):
            yield DropSqlObjectOp(by_key[each.key])

    def creations(self) -> Iterator[MigrateOperation]:
        for each in sqlfile.in_order(self.current.values()):
            key = each.key
            previous = self.frozen.get(key)
            copy = previous if previous and previous.object.text == each.text else FrozenCopy(each)
            if key in self.changed and key not in self.dropped and previous:
                yield ReplaceSqlObjectOp(copy, previous)
                yield from self._comment_removals(key)
            elif key not in self.existing or key in self.dropped | self.changed:
                yield CreateSqlObjectOp(copy)

    def _comment_removals(self, key: Key) -> Iterator[MigrateOperation]:
        """Yield what CREATE OR REPLACE leaves undone: a comment stays when the new text has none."""
        for difference in self.comparison.differences:
            identity = difference.identity
            one_has_none = None in {difference.declared, difference.found}
            if difference.aspect == "comment" and one_has_none and key in _owners_of(identity):
                remove = statements.remove_comment(identity)
                forward, backward = (remove, "") if difference.declared is None else ("", remove)
                yield ExecuteStatementsOp(identity, "comment", forward, backward)

    def policy_drops(self) -> Iterator[MigrateOperation]:
        for identity, properties in self._policy_items(self.comparison.deployed):
            if _key_of(identity) in self.dropped:
                create = statements.create_policy(identity, properties)
                yield ExecuteStatementsOp(identity, "existence", statements.drop_policy(identity), create)

    def policy_creations(self) -> Iterator[MigrateOperation]:
        for identity, properties in self._policy_items(self.comparison.declared):
            if _key_of(identity) in self.dropped or _key_of(identity) not in self.existing:
                create = self._declared_text(identity) or statements.create_policy(identity, properties)
                yield ExecuteStatementsOp(identity, "existence", create, statements.drop_policy(identity))

    def _declared_text(self, identity: Identity) -> str | None:
        """Return the statement that creates a policy as it was written: PostgreSQL spells it otherwise."""
        statement = re.compile(
            rf"^CREATE POLICY {identity.name} ON {identity.table} .*?;$", re.MULTILINE | re.DOTALL
        )
        texts = (each.text for each in self.declared if each.kind == "privileges")
        return next((match[0] for match in map(statement.search, texts) if match), None)

    def _policies(self, catalog: Catalog) -> set[Key]:
        return {_key_of(identity) for identity, _ in self._policy_items(catalog)}

    def _policy_items(self, catalog: Catalog) -> list[tuple[Identity, Properties]]:
        tables = Base.metadata.tables.keys() | _dropped_tables(self.table_operations)
        return [
            (identity, properties)
            for identity, properties in catalog.items()
            if identity.kind == "policy" and identity.table in tables
        ]


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


def _retyped(comparison: Comparison) -> Iterator[Key]:
    """Yield the columns whose domain has to be made of another type."""
    for difference in comparison.differences:
        if difference.kind == "type" and difference.aspect == "definition":
            for column in _columns_of(difference.name, comparison.deployed):
                yield "column", column.table, column.name


def _columns_of(domain: str, catalog: Catalog) -> list[Identity]:
    return [
        identity
        for identity, properties in catalog.items()
        if identity.kind == "column"
        and properties["type"] == domain
        and Identity("table", None, str(identity.table)) in catalog
    ]


def _is_replaceable(key: Key, comparison: Comparison, altered: Collection[str]) -> bool:
    """Return whether CREATE OR REPLACE can turn the deployed object into the declared one, and back.

    Args:
        key: The object.
        comparison: What it is and what it should be.
        altered: Names of columns and tables that change besides.
    """
    before, after = (
        {identity: each for identity, each in catalog.items() if key in _owners_of(identity)}
        for catalog in (comparison.deployed, comparison.declared)
    )

    def stays(*aspects: str) -> bool:
        old, new = (
            {identity: [each.get(aspect) for aspect in aspects] for identity, each in objects.items()}
            for objects in (before, after)
        )
        return old == new

    match key[0]:
        case "trigger":
            definitions = (each["definition"] for each in (*before.values(), *after.values()))
            return not any("CONSTRAINT TRIGGER" in definition for definition in definitions)
        case "view":
            return stays("type", "_position")
        case "function":
            # The body of an SQL function must fit the tables as they are when it is created.
            bodies = " ".join(each["body"] for each in before.values() if each["language"] == "sql")
            return stays("arguments", "result") and not set(re.findall(r"\w+", bodies)) & {*altered}
    return False


def _plan_tables(
    comparison: Comparison, table_operations: Iterable[Any], reflect: Callable[[str], sa.Table]
) -> Iterator[MigrateOperation]:
    """Yield operations for what Alembic's own comparison of tables does not see."""
    planned = {
        getattr(each, "index_name", None) or getattr(each, "constraint_name", None)
        for each in table_operations
    }
    new_defaults = {
        (each.table_name, each.column_name)
        for each in table_operations
        if isinstance(each, ops.AlterColumnOp) and each.modify_server_default is not False
    }
    for difference in comparison.differences:
        identity = difference.identity
        if identity.kind == "table" and difference.aspect == "existence":
            yield from _complete_table(identity, comparison)
        elif identity.table not in Base.metadata.tables and identity.name not in Base.metadata.tables:
            continue
        elif identity.kind in {"constraint", "index"} and difference.aspect != "comment":
            # From PostgreSQL 18 on, NOT NULL is a constraint too; the column's own change makes it.
            is_of_column = f"{difference.declared or difference.found}".startswith("NOT NULL")
            if identity.name not in planned and not is_of_column:
                planned.add(identity.name)
                yield from _replace(identity, difference, reflect)
        elif difference.aspect == "default" and (identity.table, identity.name) in new_defaults:
            continue
        elif difference.aspect not in {*APART, "existence"} and identity in comparison.declared:
            sides = comparison.deployed[identity], comparison.declared[identity]
            forward = statements.alter(identity, difference.aspect, *sides)
            backward = statements.alter(identity, difference.aspect, *reversed(sides))
            if forward and backward:
                yield ExecuteStatementsOp(identity, difference.aspect, forward, backward)


def _complete_table(identity: Identity, comparison: Comparison) -> Iterator[MigrateOperation]:
    """Yield what Alembic's create_table leaves out."""
    declared = comparison.declared.get(identity)
    if declared is None or identity in comparison.deployed:
        return
    for aspect, statement in _beyond_create_table(identity, declared):
        backward = f"DROP TABLE {identity.name};" if aspect == "existence" else ""
        yield ExecuteStatementsOp(identity, aspect, statement, backward)


def _beyond_create_table(identity: Identity, properties: Properties) -> Iterator[tuple[str, str]]:
    """Yield, by aspect, the statements that create_table leaves out."""
    if identity.is_partition:
        yield "existence", statements.create_partition(identity, properties)
    for aspect in ("row security", "row security for the owner"):
        if properties[aspect] not in {"DISABLED", "NOT FORCED"}:
            yield aspect, statements.alter(identity, aspect, {}, properties) or ""


def _replace(
    identity: Identity, difference: Difference, reflect: Callable[[str], sa.Table]
) -> Iterator[MigrateOperation]:
    """Yield operations that drop the constraint or index that is there and create the declared one."""
    table = str(identity.table)
    found = difference.found and _find(reflect(table), identity)
    declared = difference.declared and _find(Base.metadata.tables[table], identity)
    if identity.kind == "constraint" and None in {found, declared}:
        # Not everything is reflected, exclusion constraints are not.
        yield _replace_constraint(identity, difference)
        return
    if isinstance(found, sa.UniqueConstraint):
        _defer(found, _deferral(str(difference.found)))
    if isinstance(found, sa.Index):
        yield ops.DropIndexOp.from_index(found)
    elif isinstance(found, sa.Constraint):
        yield ops.DropConstraintOp.from_constraint(found)
    if isinstance(declared, sa.Index):
        yield ops.CreateIndexOp.from_index(declared)
    elif isinstance(declared, sa.Constraint):
        yield ops.AddConstraintOp.from_constraint(declared)


def _find(table: sa.Table, identity: Identity) -> sa.Constraint | sa.Index | None:
    candidates = table.indexes if identity.kind == "index" else table.constraints
    return next((each for each in candidates if each.name == identity.name), None)


def _replace_constraint(
    identity: Identity, difference: Difference, kind: str = "TABLE"
) -> ExecuteStatementsOp:
    def replace(old: str | None, new: str | None) -> str:
        drop = f"ALTER {kind} {identity.table} DROP CONSTRAINT {identity.name};"
        add = f"ALTER {kind} {identity.table} ADD CONSTRAINT {identity.name} {new};"
        return "\n".join([*([drop] if old else []), *([add] if new else [])])

    found, declared = difference.found, difference.declared
    return ExecuteStatementsOp(
        identity, difference.aspect, replace(found, declared), replace(declared, found)
    )


@dataclass(frozen=True)
class _DomainPlan:
    """What happens to the domains that are the types of columns."""

    comparison: Comparison
    table_operations: list[Any]

    @cached_property
    def declared(self) -> dict[str, Domain]:
        return {name: cast("Domain", column.type) for name, column in domains().items()}

    def creations(self) -> Iterator[MigrateOperation]:
        for identity in self.comparison.declared:
            if identity.kind == "type" and identity not in self.comparison.deployed:
                create = self.declared[identity.name].create_statement
                yield ExecuteStatementsOp(identity, "existence", create, f"DROP DOMAIN {identity.name};")

    def changes(self) -> Iterator[MigrateOperation]:
        for difference in self.comparison.differences:
            identity = difference.identity
            if identity.kind == "type" and difference.aspect == "definition":
                create = self.declared[identity.name].create_statement
                yield ExecuteStatementsOp(
                    identity,
                    difference.aspect,
                    self._retype(identity, self.comparison.declared, create),
                    self._retype(identity, self.comparison.deployed, self._create_deployed(identity)),
                )
            elif identity.kind == "type" and difference.aspect == "comment":
                sides = self.comparison.deployed[identity], self.comparison.declared[identity]
                forward = statements.alter(identity, difference.aspect, *sides)
                backward = statements.alter(identity, difference.aspect, *reversed(sides))
                yield ExecuteStatementsOp(identity, difference.aspect, forward or "", backward or "")
            elif identity.kind == "constraint" and identity.table in self.declared and self._stays(identity):
                yield _replace_constraint(identity, difference, "DOMAIN")

    def drops(self) -> Iterator[MigrateOperation]:
        tables = {
            *Base.metadata.tables,
            *(getattr(each, "table_name", None) for each in self.table_operations),
        }
        for identity in self.comparison.deployed:
            if identity.kind == "type" and identity not in self.comparison.declared:
                columns = _columns_of(identity.name, self.comparison.deployed)
                if columns and all(column.table in tables for column in columns):
                    create = self._create_deployed(identity)
                    yield ExecuteStatementsOp(identity, "existence", f"DROP DOMAIN {identity.name};", create)

    def _stays(self, constraint: Identity) -> bool:
        """Return whether the domain of a constraint is there, and stays of the same type."""
        domain = Identity("type", None, str(constraint.table))
        declared, deployed = (
            catalog.get(domain, {}).get("definition")
            for catalog in (self.comparison.declared, self.comparison.deployed)
        )
        return declared == deployed

    def _create_deployed(self, identity: Identity) -> str:
        properties = self.comparison.deployed[identity]
        rules = "".join(
            f" CONSTRAINT {each.name} {definition['definition']}"
            for each, definition in self.comparison.deployed.items()
            if each.kind == "constraint" and each.table == identity.name
        )
        comment = statements.alter(identity, "comment", {}, properties)
        base = properties["definition"].removeprefix("DOMAIN ")
        return f"CREATE DOMAIN {identity.name} {base}{rules};\n{comment}"

    @staticmethod
    def _retype(identity: Identity, catalog: Catalog, create: str) -> str:
        """Return statements that make a domain anew: PostgreSQL does not change what it is made of."""
        base = catalog[identity]["definition"].removeprefix("DOMAIN AS ")
        columns = [
            f"ALTER TABLE {column.table} ALTER COLUMN {column.name} TYPE "
            for column in _columns_of(identity.name, catalog)
        ]
        return "\n".join((
            *(f"{column}{base};" for column in columns),
            f"DROP DOMAIN {identity.name};",
            create,
            *(f"{column}{identity.name};" for column in columns),
        ))  # fmt: skip


@dataclass(frozen=True)
class _GrantPlan:
    """What happens to grants: an object that is made again has lost its own."""

    comparison: Comparison
    recreated: Collection[Key]
    dropped_tables: Collection[str]

    def restoring_in_downgrade(self) -> Iterator[MigrateOperation]:
        for identity, deployed in self.comparison.deployed.items():
            is_restored = self._is_recreated(identity) or self._is_of_dropped_table(identity)
            if is_restored and (grants := statements.grants_of_new(identity, deployed)):
                yield ExecuteStatementsOp(identity, "grants", "", grants)

    def granting(self) -> Iterator[MigrateOperation]:
        for identity, declared in self.comparison.declared.items():
            deployed = self.comparison.deployed.get(identity)
            if deployed is None or self._is_recreated(identity):
                if grants := statements.grants_of_new(identity, declared):
                    yield ExecuteStatementsOp(identity, "grants", grants, "")
                continue
            if forward := statements.alter(identity, "grants", deployed, declared):
                backward = statements.alter(identity, "grants", declared, deployed) or ""
                yield ExecuteStatementsOp(identity, "grants", forward, backward)

    def _is_recreated(self, identity: Identity) -> bool:
        return any(key in self.recreated for key in _owners_of(identity))

    def _is_of_dropped_table(self, identity: Identity) -> bool:
        name = identity.name if identity.kind == "table" else identity.table
        owner = self.comparison.deployed[identity].get("owned by", "").partition(".")[0]
        return not {name, identity.table, owner}.isdisjoint(self.dropped_tables)
