"""What a database at head consists of, and what belongs to it outside the database."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

import honua_schema
from honua_schema import privileges, sqlfile
from honua_schema.autogenerate import catalog
from honua_schema.calls import SqlFunction
from honua_schema.models import Base

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from sqlalchemy import Connection

    from honua_schema.autogenerate.catalog import Catalog, Properties

DOMAINS = ("core", "build_queue", "intake", "system")

# Not in the catalog that drift is found with: which name a rule of a type has, and each argument by itself.
TYPE_RULES = text("""
    SELECT t.typname AS type, c.conname AS name, pg_get_constraintdef(c.oid, true) AS definition
    FROM pg_constraint AS c
    JOIN pg_type AS t ON t.oid = c.contypid
    WHERE t.typnamespace = CAST('public' AS regnamespace) AND pg_get_constraintdef(c.oid, true) LIKE 'CHECK %'
    ORDER BY t.typname, c.conname
""")
TYPES = text("""
    SELECT
        t.typname AS name,
        format_type(t.typbasetype, t.typtypmod) AS base,
        t.typnotnull AS is_required,
        t.typdefault AS "default",
        obj_description(t.oid, 'pg_type') AS comment
    FROM pg_type AS t
    WHERE t.typnamespace = CAST('public' AS regnamespace) AND t.typtype = 'd'
    ORDER BY t.typname
""")
ARGUMENTS = text("""
    SELECT
        p.proname AS function,
        a.name,
        coalesce(a.mode, 'i') AS mode,
        format_type(a.type, NULL) AS type,
        pg_get_function_arg_default(p.oid, CAST(a.position AS integer)) AS "default"
    FROM pg_proc AS p
    CROSS JOIN LATERAL ROWS FROM (
        unnest(coalesce(p.proallargtypes, CAST(p.proargtypes AS oid[]))),
        unnest(p.proargmodes),
        unnest(p.proargnames)
    ) WITH ORDINALITY AS a (type, mode, name, position)
    WHERE p.pronamespace = CAST('public' AS regnamespace)
    ORDER BY p.proname, a.position
""")
ROLE_PURPOSES = text("""
    SELECT r.rolname AS name, shobj_description(r.oid, 'pg_authid') AS comment
    FROM pg_roles AS r
    WHERE r.rolname = ANY (:roles)
""")

_FOREIGN_KEY = re.compile(
    r"FOREIGN KEY \((?P<columns>[^)]+)\) REFERENCES (?P<table>\w+)\((?P<referred>[^)]+)\)(?P<action>.*)"
)
_TRIGGER = re.compile(
    r"CREATE (?:CONSTRAINT )?TRIGGER \w+ (?P<moment>BEFORE|AFTER|INSTEAD OF) (?P<events>.+?) ON \w+ .*?"
    r"FOR EACH (?P<level>ROW|STATEMENT)(?: WHEN \((?P<condition>.*)\))? EXECUTE FUNCTION (?P<function>\w+)\("
)
_ARGUMENT_SECTION = re.compile(r"^(?:Args|Attributes):\n((?: .*\n?|\n)+)", re.MULTILINE)
_DESCRIBED = re.compile(r"^    \**(\w+): (.+(?:\n {8}.+)*)", re.MULTILINE)


@dataclass(frozen=True)
class Rule:
    """A constraint of a table, or of the type of a column."""

    name: str
    definition: str


@dataclass(frozen=True)
class Type:
    """A domain in PostgreSQL's sense: a type of columns, with rules."""

    name: str
    base: str
    is_required: bool
    default: str | None
    comment: str | None
    rules: tuple[Rule, ...]


@dataclass(frozen=True)
class Column:
    """A column of a table or view."""

    name: str
    type: str
    default: str | None
    is_required: bool
    comment: str


@dataclass(frozen=True)
class ForeignKey:
    """A foreign key."""

    name: str
    table: str
    columns: tuple[str, ...]
    referred_table: str
    referred_columns: tuple[str, ...]
    action: str
    is_required: bool
    is_unique: bool


@dataclass(frozen=True)
class Index:
    """An index: on what, and for which query; one that keeps a rule is named after the rule."""

    name: str
    is_unique: bool
    method: str
    keys: str
    serves: str


@dataclass(frozen=True)
class Trigger:
    """A trigger."""

    name: str
    table: str
    moment: str
    events: str
    level: str
    condition: str | None
    function: str
    comment: str


@dataclass(frozen=True)
class Table:
    """A table."""

    name: str
    domain: str
    model: str
    about: str
    comment: str
    columns: tuple[Column, ...]
    primary_key: tuple[str, ...]
    unique_keys: tuple[tuple[str, ...], ...]
    rules: tuple[Rule, ...]
    foreign_keys: tuple[ForeignKey, ...]
    indexes: tuple[Index, ...]
    partition_key: str | None
    storage_options: str | None


@dataclass(frozen=True)
class View:
    """A view."""

    name: str
    domain: str
    comment: str
    columns: tuple[Column, ...]
    uses: Mapping[str, tuple[str, ...]]
    source: str


@dataclass(frozen=True)
class Argument:
    """An argument of a function, or a column of what it returns."""

    name: str
    type: str
    default: str | None = None


@dataclass(frozen=True)
class Function:
    """A function."""

    name: str
    domain: str
    comment: str
    arguments: tuple[Argument, ...]
    returns: str
    columns: tuple[Argument, ...]
    volatility: str
    parallel: str
    is_definer: bool
    is_strict: bool
    settings: tuple[str, ...]
    uses: Mapping[str, tuple[str, ...]]
    calls: frozenset[str]
    sets: tuple[str, ...]
    python: str | None
    meanings: Mapping[str, str]

    @property
    def is_trigger(self) -> bool:
        """Whether triggers call it, and nobody else can."""
        return self.returns == "trigger"


@dataclass(frozen=True)
class Schema:
    """Everything that the pages are about."""

    tables: Mapping[str, Table]
    views: Mapping[str, View]
    functions: Mapping[str, Function]
    triggers: Mapping[str, Trigger]
    types: Mapping[str, Type]
    roles: Mapping[str, str]
    sequences: Mapping[str, str | None]
    manifest: privileges.Manifest

    def foreign_keys_to(self, table: str) -> list[ForeignKey]:
        """Return the foreign keys that refer to a table."""
        return [
            key for each in self.tables.values() for key in each.foreign_keys if key.referred_table == table
        ]

    def triggers_on(self, table: str) -> list[Trigger]:
        """Return the triggers of a table, in the order in which PostgreSQL fires those of one moment."""
        return [trigger for trigger in self.triggers.values() if trigger.table == table]

    def triggers_calling(self, function: str) -> list[Trigger]:
        """Return the triggers that call a function."""
        return [trigger for trigger in self.triggers.values() if trigger.function == function]

    def functions_calling(self, function: str) -> list[Function]:
        """Return the functions that call another."""
        return [each for each in self.functions.values() if function in each.calls]


def read(connection: Connection) -> Schema:
    """Read all of it. Settings of the transaction are changed; the caller rolls back."""
    found = catalog.read(connection)
    manifest = privileges.parse((sqlfile.CURRENT / "system" / "privileges.toml").read_text(encoding="utf-8"))
    declared = {each.name: each for each in sqlfile.load_objects()}
    tables = {table.name: table for table in _tables(found)}
    views = {
        identity.name: View(
            identity.name,
            declared[identity.name].domain,
            properties["comment"],
            tuple(_columns(found, identity.name)),
            uses(without_texts(declared[identity.name].text), tables),
            declared[identity.name].text,
        )
        for identity, properties in _of_kind(found, "view")
    }
    types = {type_.name: type_ for type_ in _types(connection)}
    return Schema(
        tables=tables,
        views=views,
        functions={each.name: each for each in _functions(connection, found, [*tables, *views])},
        triggers={each.name: each for each in _triggers(found)},
        types=types,
        roles={
            row.name: (row.comment or "").removeprefix("honua-schema: ")
            for row in connection.execute(ROLE_PURPOSES, {"roles": list(manifest.roles)})
        },
        sequences={
            identity.name: properties.get("owned by") for identity, properties in _of_kind(found, "sequence")
        },
        manifest=manifest,
    )


def _of_kind(found: Catalog, kind: str, table: str | None = None) -> list[tuple[Any, Properties]]:
    """Return the objects of a kind, of one table or of none, by their names; partitions are left out."""
    objects = [each for each in found.items() if each[0].kind == kind and each[0].table == table]
    return sorted(objects, key=lambda each: each[0].name)


def _columns(found: Catalog, relation: str) -> Iterator[Column]:
    columns = _of_kind(found, "column", relation)
    for identity, properties in sorted(columns, key=lambda each: int(each[1]["_position"])):
        default = properties.get("default") or properties.get("generated")
        if "identity" in properties:
            default = f"GENERATED {properties['identity']} AS IDENTITY"
        yield Column(
            identity.name,
            readable_type(properties["type"]),
            readable(default) if default else None,
            properties["null"] == "NOT NULL",
            properties.get("comment", ""),
        )


def _tables(found: Catalog) -> Iterator[Table]:
    models = {mapper.class_.__tablename__: mapper.class_ for mapper in Base.registry.mappers}
    for identity, properties in _of_kind(found, "table"):
        name = identity.name
        columns = tuple(_columns(found, name))
        constraints = [
            Rule(each.name, readable(facts["definition"]))
            for each, facts in _of_kind(found, "constraint", name)
            # From PostgreSQL 18 on each NOT NULL is one; the columns say it.
            if not facts["definition"].startswith("NOT NULL")
        ]
        primary_key = [_listed(each, "PRIMARY KEY") for each in constraints if "PRIMARY" in each.definition]
        unique_keys = [_listed(each, "UNIQUE") for each in constraints if each.definition[:6] == "UNIQUE"]
        required = {column.name for column in columns if column.is_required}
        keys = [*primary_key, *unique_keys]
        yield Table(
            name=name,
            domain=models[name].__module__.rpartition(".")[2],
            model=f"honua_schema.models.{models[name].__name__}",
            about=" ".join((inspect.getdoc(models[name]) or "").split()).partition(". ")[2],
            comment=properties["comment"],
            columns=columns,
            primary_key=primary_key[0],
            unique_keys=tuple(unique_keys),
            rules=tuple(each for each in constraints if not each.definition.startswith("FOREIGN KEY")),
            foreign_keys=tuple(_foreign_keys(name, constraints, required, keys)),
            indexes=tuple(_indexes(found, name)),
            partition_key=properties.get("partition key"),
            storage_options=properties.get("storage options"),
        )


def _listed(rule: Rule, kind: str) -> tuple[str, ...]:
    columns = rule.definition.removeprefix(kind).removeprefix(" NULLS NOT DISTINCT").strip(" ()")
    return tuple(columns.split(", "))


def _foreign_keys(
    table: str, constraints: Iterable[Rule], required: set[str], keys: list[tuple[str, ...]]
) -> Iterator[ForeignKey]:
    for rule in constraints:
        if match := _FOREIGN_KEY.match(rule.definition):
            columns = tuple(match["columns"].split(", "))
            yield ForeignKey(
                name=rule.name,
                table=table,
                columns=columns,
                referred_table=match["table"],
                referred_columns=tuple(match["referred"].split(", ")),
                action=match["action"].strip(),
                is_required=required.issuperset(columns),
                is_unique=any(set(key) <= set(columns) for key in keys),
            )


def _indexes(found: Catalog, table: str) -> Iterator[Index]:
    serves = {index.name: index.info["serves"] for index in Base.metadata.tables[table].indexes}
    for identity, properties in _of_kind(found, "index", table):
        create, _, definition = properties["definition"].partition(" USING ")
        method, _, keys = definition.partition(" ")
        serving = serves.get(identity.name, f"the rule {identity.name}")
        yield Index(identity.name, "UNIQUE" in create, method, readable(keys), serving)


def _triggers(found: Catalog) -> Iterator[Trigger]:
    for identity, properties in sorted(found.items(), key=lambda each: each[0].name):
        if identity.kind != "trigger" or "." in str(identity.table):  # a partition's
            continue
        match = _TRIGGER.match(properties["definition"])
        assert match, properties["definition"]
        condition = match["condition"]
        yield Trigger(
            name=identity.name,
            table=str(identity.table),
            moment=match["moment"],
            events=match["events"],
            level=match["level"],
            condition=condition and readable(condition),
            function=match["function"],
            comment=properties["comment"],
        )


def _types(connection: Connection) -> Iterator[Type]:
    rules = connection.execute(TYPE_RULES).all()
    for row in connection.execute(TYPES):
        own = (Rule(rule.name, readable(rule.definition)) for rule in rules if rule.type == row.name)
        yield Type(
            row.name,
            readable_type(row.base),
            row.is_required,
            row.default and readable(row.default),
            row.comment,
            tuple(own),
        )


def _functions(connection: Connection, found: Catalog, relations: list[str]) -> Iterator[Function]:
    declared = {each.name: each for each in sqlfile.load_objects()}
    properties_by_name = {
        identity.name.partition("(")[0]: facts for identity, facts in _of_kind(found, "function")
    }
    arguments = connection.execute(ARGUMENTS).all()
    python = python_calls()
    for name, facts in sorted(properties_by_name.items()):
        own = [
            (row.mode, Argument(row.name, readable_type(row.type), row.default and readable(row.default)))
            for row in arguments
            if row.function == name
        ]
        body = without_texts(facts["body"])
        call = python.get(name)
        yield Function(
            name=name,
            domain=declared[name].domain,
            comment=facts["comment"],
            arguments=tuple(argument for mode, argument in own if mode in {"i", "b", "v"}),
            returns=readable_type(facts["result"]),
            columns=tuple(argument for mode, argument in own if mode in {"o", "b", "t"}),
            volatility=facts["volatility"],
            parallel=facts["parallel"],
            is_definer=facts["security"] == "DEFINER",
            is_strict=facts["on NULL"] == "STRICT",
            settings=tuple(
                each
                for each in (facts.get("settings") or "").split("; ")
                if each and "search_path" not in each
            ),
            uses=uses(body, relations),
            calls=frozenset(
                each for each in properties_by_name if each != name and re.search(rf"\b{each}\(", body)
            ),
            sets=tuple(sorted(set(re.findall(r"\bNEW\.(\w+)\s*:=", body)))),
            python=call and f"{call.__module__}.{call.__name__}",
            meanings=_meanings(call) if call else {},
        )


def without_texts(sql: str) -> str:
    """Return SQL without its comments, and with all its texts empty: names in them are not used."""
    return re.sub(r"'(?:[^']|'')*'|--.*", lambda match: "" if match[0][0] == "-" else "''", sql)


def uses(body: str, relations: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return what SQL does with each table or view that it names: select, insert, update, delete.

    Args:
        body: SQL without texts and comments, its keywords in capitals.
        relations: Names of the tables and views.
    """
    patterns = {
        "select": r"(?<!DELETE )\b(?:FROM|JOIN) {}\b",
        "insert": r"\bINSERT INTO {}\b",
        "update": r"\bUPDATE {}\b",
        "delete": r"\bDELETE FROM {}\b",
    }
    found = {
        relation: tuple(
            verb for verb, pattern in patterns.items() if re.search(pattern.format(relation), body)
        )
        for relation in relations
    }
    return {relation: verbs for relation, verbs in sorted(found.items()) if verbs}


def python_calls() -> dict[str, Any]:
    """Return the typed Python calls, by the names of the SQL functions that they are named after."""
    found: dict[str, Any] = {}
    for module in pkgutil.iter_modules(honua_schema.__path__, "honua_schema."):
        if module.name.rpartition(".")[2] in {"__main__", "env"}:  # they act when they are imported
            continue
        members = inspect.getmembers(importlib.import_module(module.name))
        found |= {
            name: value
            for name, value in members
            if isinstance(value, SqlFunction) and value.__module__ == module.name
        }
    return found


def _meanings(call: Any) -> dict[str, str]:
    """Return what the docstrings of a typed call, and of the record that it returns, say of each name."""
    module = importlib.import_module(call.__module__)
    answers = (getattr(module, word, None) for word in re.findall(r"\w+", call.__annotations__["return"]))
    documented = [*(each for each in answers if dataclasses.is_dataclass(each)), call]
    found: dict[str, str] = {}
    for each in documented:
        prefix = "p_" if each is call else ""
        for section in _ARGUMENT_SECTION.findall(inspect.getdoc(each) or ""):
            for name, meaning in _DESCRIBED.findall(section):
                plain = re.sub(r"\bNone\b", "NULL", " ".join(meaning.split()))
                found[prefix + name] = plain if ". " in plain else plain.removesuffix(".")
    return found


def readable(sql: str) -> str:
    """Leave out of an expression what PostgreSQL adds when it spells it: casts of NULL and texts, and ANY."""
    sql = re.sub(r"(?<=\bNULL)::[a-z ]+|::(?:text|character varying|numeric)(?:\[\])?", "", sql)
    return re.sub(r"= ANY \(ARRAY\[([^\]]*)\]\)", r"IN (\1)", sql)


def readable_type(name: str) -> str:
    """Return the usual short name of a type, as the SQL files spell it."""
    name = name.replace("character varying", "varchar").replace("timestamp with time zone", "timestamptz")
    return re.sub(r"^numeric\((\d+),(\d+)\)", r"numeric(\1, \2)", name)
