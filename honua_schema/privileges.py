"""Who may do what with which rows: the manifest sql/system/privileges.toml, and the SQL that makes it so."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from string import Template
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

VERBS = ("select", "insert", "update", "delete")
CONDITIONS = ("rows", "insert_rows", "update_rows", "updated_rows")
HEADER = "-- Made from privileges.toml.\n"
GIVE = "-- Give.\n"

TAKE_BACK = """\
-- Take back what may have been given before.
DO $$
DECLARE
    v_policy record;
BEGIN
    FOR v_policy IN
        SELECT p.polname, c.relname
        FROM pg_policy AS p
        JOIN pg_class AS c ON c.oid = p.polrelid
        WHERE c.relnamespace = to_regnamespace('public') AND p.polname LIKE 'honua\\_%'
    LOOP
        EXECUTE format('DROP POLICY %I ON public.%I', v_policy.polname, v_policy.relname);
    END LOOP;
END;
$$;
"""


@dataclass(frozen=True)
class Privilege:
    """What a role may do with a table.

    Attributes:
        verb: select, insert, update or delete.
        columns: The columns that it may use so; None for all.
        rows: Condition on the rows that it sees, changes or removes; None for an insert.
        new_rows: Condition on the rows as they are afterwards; None for select and delete.
    """

    verb: str
    columns: tuple[str, ...] | None
    rows: str | None
    new_rows: str | None


@dataclass(frozen=True)
class Manifest:
    """Who may do what.

    Attributes:
        roles: The roles.
        tables: By table and role, what the role may do with it.
        views: By view, the roles that may read it.
        sequences: By sequence, the roles that may take its next number.
        functions: By function, the roles that may call it.
    """

    roles: tuple[str, ...]
    tables: Mapping[str, Mapping[str, tuple[Privilege, ...]]]
    views: Mapping[str, tuple[str, ...]]
    sequences: Mapping[str, tuple[str, ...]]
    functions: Mapping[str, tuple[str, ...]]


def parse(text: str) -> Manifest:
    """Read a manifest.

    Args:
        text: What privileges.toml holds.

    Raises:
        ValueError: It has a role or a key that it should not have, or no condition on rows.
    """
    document: dict[str, Any] = tomllib.loads(text)
    roles = tuple(document["roles"])
    lists = {
        kind: {name: tuple(members) for name, members in document[kind].items()}
        for kind in ("views", "sequences", "functions")
    }
    tables = {
        table: {
            role: tuple(_privileges(entry, f"{table}.{role}", document["customer"]))
            for role, entry in by_role.items()
        }
        for table, by_role in document["tables"].items()
    }
    for members in (*tables.values(), *(each for kind in lists.values() for each in kind.values())):
        if unknown := set(members).difference(roles):
            message = f"privileges.toml names roles that it does not list: {', '.join(sorted(unknown))}"
            raise ValueError(message)
    return Manifest(roles, tables, **lists)


def _privileges(entry: Mapping[str, str], where: str, customer: str) -> Iterator[Privilege]:
    if unknown := entry.keys() - {*VERBS, *CONDITIONS}:
        message = f"privileges.toml: {where} has {', '.join(sorted(unknown))}, which means nothing"
        raise ValueError(message)
    if "rows" not in entry:
        message = f"privileges.toml: {where} must say for which rows"
        raise ValueError(message)

    def condition(name: str, otherwise: str = "rows") -> str:
        return Template(entry.get(name, entry[otherwise])).substitute(customer=customer)

    for verb in VERBS:
        if verb not in entry:
            continue
        listed = tuple(column.strip() for column in entry[verb].split(","))
        columns = None if listed == ("*",) else listed
        match verb:
            case "insert":
                yield Privilege(verb, columns, None, condition("insert_rows"))
            case "update":
                rows = condition("update_rows")
                yield Privilege(verb, columns, rows, condition("updated_rows"))
            case _:
                yield Privilege(verb, columns, condition("rows"), None)


def render(manifest: Manifest) -> str:
    """Write the SQL that makes a manifest true, whatever was true before.

    Args:
        manifest: Who may do what.
    """
    return HEADER + "".join(_take_back(manifest)) + GIVE + "".join(_give(manifest))


def remove_statement(rendered: str) -> str:
    """Return the part of rendered SQL that takes back all privileges and switches row security off.

    Args:
        rendered: What `render` made.
    """
    return rendered.partition(GIVE)[0].removeprefix(HEADER)


def _take_back(manifest: Manifest) -> Iterator[str]:
    everybody = ", ".join(("PUBLIC", *manifest.roles))
    yield TAKE_BACK
    yield "".join(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY;\n" for table in manifest.tables)
    for kind, names in (
        ("TABLE", [*manifest.tables, *manifest.views]),
        ("SEQUENCE", manifest.sequences),
        ("FUNCTION", manifest.functions),
    ):
        yield f"REVOKE ALL ON {kind} {_listed(names)} FROM {everybody};\n"
    yield f"REVOKE USAGE ON SCHEMA public FROM {', '.join(manifest.roles)};\n"


def _give(manifest: Manifest) -> Iterator[str]:
    # Functions that run with their owner's rights look for names in public.
    yield "REVOKE CREATE ON SCHEMA public FROM PUBLIC;\n"
    yield f"GRANT USAGE ON SCHEMA public TO {', '.join(manifest.roles)};\n"
    for table, by_role in manifest.tables.items():
        yield f"\nALTER TABLE {table} ENABLE ROW LEVEL SECURITY;\n"
        for role, privileges in by_role.items():
            yield f"GRANT {', '.join(map(_verb, privileges))} ON TABLE {table} TO {role};\n"
            for privilege in privileges:
                yield _policy(table, role, privilege)
    yield "\n"
    for kind, verb, members in (
        ("TABLE", "SELECT", manifest.views),
        ("SEQUENCE", "USAGE", manifest.sequences),
        ("FUNCTION", "EXECUTE", manifest.functions),
    ):
        for name, roles in members.items():
            if roles:
                yield f"GRANT {verb} ON {kind} {name} TO {', '.join(roles)};\n"


def _verb(privilege: Privilege) -> str:
    columns = f" ({', '.join(privilege.columns)})" if privilege.columns else ""
    return privilege.verb.upper() + columns


def _policy(table: str, role: str, privilege: Privilege) -> str:
    using = f"\n    USING ({privilege.rows})" if privilege.rows else ""
    check = f"\n    WITH CHECK ({privilege.new_rows})" if privilege.new_rows else ""
    name = f"{role}_{privilege.verb}"
    return f"CREATE POLICY {name} ON {table} FOR {privilege.verb.upper()} TO {role}{using}{check};\n"


def _listed(names: Any) -> str:
    return ",\n    ".join(cast("list[str]", list(names)))
