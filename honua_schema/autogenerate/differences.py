"""Where a database is not what the models and the SQL files declare, object by object."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from honua_schema.autogenerate.catalog import Catalog, Identity, Properties
from honua_schema.models.base import PARTITION_SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date

POSITION = "_position"
"""A column's property that counts only in relation to other columns."""
LONGEST_LINE = 60


@dataclass(frozen=True)
class Difference:
    """One thing that is not as declared.

    Attributes:
        kind: Kind of the object, such as table, column, index or function.
        table: The table or view that the object belongs to; None for one that stands by itself.
        name: Name of the object.
        aspect: What of it differs, such as definition, comment or grants; existence for an object that is
            missing, or that nothing declares.
        declared: What the models and the SQL files say; None if they say nothing.
        found: What is in the database; None if nothing is.
    """

    kind: str
    table: str | None
    name: str
    aspect: str
    declared: str | None
    found: str | None

    @property
    def identity(self) -> Identity:
        """The object that differs."""
        return Identity(self.kind, self.table, self.name)

    def __str__(self) -> str:
        if self.aspect == "existence":
            return f"{self.identity} is {'missing' if self.found is None else 'not declared'}"
        if "\n" in f"{self.declared}{self.found}":
            return f"{self.identity}: {self.aspect} is not as declared\n{self._changed_lines()}"
        declared, found = (text or "nothing" for text in (self.declared, self.found))
        if len(declared + found) < LONGEST_LINE:
            return f"{self.identity}: {self.aspect} is {found}, declared is {declared}"
        return f"{self.identity}: {self.aspect}\n    declared: {declared}\n    found:    {found}"

    def _changed_lines(self) -> str:
        declared, found = ((text or "").splitlines() for text in (self.declared, self.found))
        lines = difflib.unified_diff(declared, found, "declared", "found", n=1, lineterm="")
        return "\n".join(f"    {line}" for line in lines)


def find(declared: Catalog, deployed: Catalog, today: date) -> list[Difference]:
    """Return where two schemas differ, in the order of tables and other objects.

    What belongs to a table that is missing, or that nothing declares, is not listed besides.

    Args:
        declared: What should be there.
        deployed: What is there.
        today: The current day in UTC: a log that has monthly partitions needs one for each month until now.
    """
    expected = {**declared, **_expected_partitions(declared, deployed, today)}
    unmatched = _relations(expected) ^ _relations(deployed)
    differences = [
        difference
        for identity in expected.keys() | deployed.keys()
        if identity.is_relation or identity.table not in unmatched
        for difference in _compare(identity, expected.get(identity), deployed.get(identity))
    ]
    differences += _column_orders(expected, deployed)
    differences = _without_inherited(differences, deployed)
    return sorted(differences, key=lambda difference: (difference.identity.sort_key, difference.aspect))


def _without_inherited(differences: list[Difference], deployed: Catalog) -> list[Difference]:
    """Leave out what a partition has from its table."""
    tables = {identity.name: identity.table for identity in deployed if identity.is_partition}
    known = {(each.identity, each.aspect) for each in differences}
    return [
        each
        for each in differences
        if each.table not in tables
        or (Identity(each.kind, tables[each.table], each.name), each.aspect) not in known
    ]


def _relations(catalog: Catalog) -> set[str]:
    return {identity.name for identity in catalog if identity.is_relation}


def _compare(
    identity: Identity, declared: Properties | None, found: Properties | None
) -> Iterator[Difference]:
    """Yield what differs of one object."""
    if declared is None or found is None:
        yield Difference(*identity, "existence", _summary(declared), _summary(found))
        return
    for name in declared.keys() | found.keys():
        if not name.startswith("_") and declared.get(name) != found.get(name):
            yield Difference(*identity, name, declared.get(name), found.get(name))


def _summary(properties: Properties | None) -> str | None:
    if properties is None:
        return None
    return next((properties[name] for name in ("definition", "type", "arguments") if name in properties), "")


def _column_orders(declared: Catalog, deployed: Catalog) -> Iterator[Difference]:
    """Yield tables whose columns are in another order; columns that only one side has don't count."""
    common: dict[str, list[Identity]] = {}
    for identity in declared.keys() & deployed.keys():
        if identity.kind == "column" and identity.table:
            common.setdefault(identity.table, []).append(identity)
    for table, columns in common.items():
        orders = [
            ", ".join(
                column.name for column in sorted(columns, key=lambda each: int(catalog[each][POSITION]))
            )
            for catalog in (declared, deployed)
        ]
        if orders[0] != orders[1]:
            home = next(identity for identity in deployed if identity.is_relation and identity.name == table)
            yield Difference(*home, "order of columns", *orders)


def _expected_partitions(declared: Catalog, deployed: Catalog, today: date) -> Catalog:
    """Return what each monthly partition should be: like the default partition, except for its bound."""
    expected: Catalog = {}
    for default in (identity for identity in declared if identity.is_partition):
        log = default.table or ""
        month_of = re.compile(rf"{PARTITION_SCHEMA}\.{log}_y(\d{{4}})m(\d\d)")
        names = (each.name for each in deployed if each.is_partition and each.table == log)
        months = [(int(match[1]), int(match[2])) for match in map(month_of.fullmatch, names) if match]
        if not months:
            continue
        # A month that is missing in between, or now, has its rows in the default partition.
        months.append((today.year, today.month))
        year, month = min(months)
        while (year, month) <= max(months):
            following = (year + month // 12, month % 12 + 1)
            bound = (
                f"FOR VALUES FROM ('{year:04}-{month:02}-01 00:00:00+00')"
                f" TO ('{following[0]:04}-{following[1]:02}-01 00:00:00+00')"
            )
            partition = f"{PARTITION_SCHEMA}.{log}_y{year:04}m{month:02}"
            expected |= _like(declared, default, partition)
            expected[Identity("table", log, partition)]["partition bound"] = bound
            year, month = following
    return expected


def _like(declared: Catalog, default: Identity, partition: str) -> Catalog:
    """Return what is declared of a default partition, as it reads for another partition."""
    own_name, name = (each.removeprefix(f"{PARTITION_SCHEMA}.") for each in (default.name, partition))

    def rename(text: str) -> str:
        return re.sub(rf"\b{own_name}\b", name, text)

    return {
        Identity(
            identity.kind,
            identity.table if identity == default else partition,
            rename(identity.name),
        ): {key: rename(value) for key, value in properties.items()}
        for identity, properties in declared.items()
        if identity == default or identity.table == default.name
    }
