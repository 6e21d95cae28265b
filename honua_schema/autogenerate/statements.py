"""SQL that turns one property of an object into another, for what Alembic has no operation for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from honua_schema.autogenerate.catalog import Identity, Properties

COMMENTED = ("index", "constraint", "sequence", "schema", "type")
"""What has comments that neither Alembic nor an SQL file makes."""

WITH_GRANT_OPTION = " WITH GRANT OPTION"


def alter(
    identity: Identity, aspect: str, old_properties: Properties, new_properties: Properties
) -> str | None:
    """Return the statements that change a property, each ended by a semicolon; None if there are none.

    Args:
        identity: The object.
        aspect: Name of the property.
        old_properties: All properties as they are.
        new_properties: All properties as they should be.
    """
    before, after = old_properties.get(aspect), new_properties.get(aspect)
    if aspect == "grants":
        return _change_grants(identity, before or "", after or "")
    if aspect == "comment" and identity.kind in COMMENTED:
        text = "NULL" if after is None else _literal(after)
        return f"COMMENT ON {identity.kind.upper()} {_reference(identity)} IS {text};"
    match identity.kind, aspect:
        case "table", "storage options":
            # All of them, for their order is that of the statements.
            before, after = (each.get(f"_{aspect}") for each in (old_properties, new_properties))
            return _change_options(f"ALTER TABLE {identity.name}", before, after)
        case "table", "TOAST storage options":
            return _change_options(f"ALTER TABLE {identity.name}", before, after, prefix="toast.")
        case "table", "row security":
            verb = "ENABLE" if after == "ENABLED" else "DISABLE"
            return f"ALTER TABLE {identity.name} {verb} ROW LEVEL SECURITY;"
        case "table", "row security for the owner":
            verb = "FORCE" if after == "FORCED" else "NO FORCE"
            return f"ALTER TABLE {identity.name} {verb} ROW LEVEL SECURITY;"
        case "table", "persistence":
            return f"ALTER TABLE {identity.name} SET {after};"
        case "column", "storage" | "compression" | "statistics target":
            setting = {"statistics target": "STATISTICS"}.get(aspect, aspect.upper())
            value = after or {"compression": "default", "statistics target": "-1"}[aspect]
            return f"{_alter_column(identity)} SET {setting} {value};"
        case "column", "default":
            # A default that means the same may be of another type, and be spelled otherwise.
            return f"{_alter_column(identity)} {f'SET DEFAULT {after}' if after else 'DROP DEFAULT'};"
        case "column", "options":
            return _change_options(_alter_column(identity), before, after)
    return None


def grants_of_new(identity: Identity, properties: Properties) -> str | None:
    """Return the statements that grant what is declared for a new object; None if it has those grants anyway.

    Args:
        identity: The object.
        properties: What is declared of it.
    """
    to_public = {"function": "EXECUTE", "procedure": "EXECUTE", "type": "USAGE"}.get(identity.kind)
    before = f"PUBLIC: {to_public}" if to_public else ""
    return _change_grants(identity, before, properties.get("grants", ""))


def remove_comment(identity: Identity) -> str:
    """Return the statement that removes the comment of an object.

    Args:
        identity: The object.
    """
    return f"COMMENT ON {identity.kind.upper()} {_reference(identity)} IS NULL;"


def create_partition(identity: Identity, properties: Properties) -> str:
    """Return the statement that creates a partition.

    Args:
        identity: The partition.
        properties: What is declared of it.
    """
    return f"CREATE TABLE {identity.name} PARTITION OF {identity.table} {properties['partition bound']};"


def drop_policy(identity: Identity) -> str:
    """Return the statement that drops a policy.

    Args:
        identity: The policy.
    """
    return f"DROP POLICY {identity.name} ON {identity.table};"


def create_policy(identity: Identity, properties: Properties) -> str:
    """Return the statement that creates a policy.

    Args:
        identity: The policy.
        properties: What the catalog says of it.
    """
    kind = "" if properties["kind"] == "PERMISSIVE" else f" AS {properties['kind']}"
    using = f" USING ({properties['using']})" if "using" in properties else ""
    check = f" WITH CHECK ({properties['check']})" if "check" in properties else ""
    return (
        f"CREATE POLICY {identity.name} ON {identity.table}{kind} FOR {properties['command']} "
        f"TO {properties['roles']}{using}{check};"
    )


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _reference(identity: Identity) -> str:
    match identity.kind:
        case "constraint" | "trigger":
            return f"{identity.name} ON {identity.table}"
        case "column":
            return f"{identity.table}.{identity.name}"
    return identity.name


def _alter_column(identity: Identity) -> str:
    return f"ALTER TABLE {identity.table} ALTER COLUMN {identity.name}"


def _change_options(statement: str, before: str | None, after: str | None, prefix: str = "") -> str:
    options = [prefix + option for option in after.split(", ")] if after else []
    names = [prefix + option.partition("=")[0] for option in before.split(", ")] if before else []
    changes = {"RESET": names, "SET": options}
    return "\n".join(f"{statement} {verb} ({', '.join(each)});" for verb, each in changes.items() if each)


def _change_grants(identity: Identity, before: str, after: str) -> str | None:
    """Return GRANT and REVOKE; the owner's own privileges are left as they are."""
    old, new = _parse_grants(before), _parse_grants(after)
    target = _grant_target(identity)
    if target is None or old == new:
        return None
    columns, on = target
    statements = []
    for grantee in sorted(old.keys() | new.keys()):
        lost, gained = (
            sorted(privileges)
            for privileges in (
                old.get(grantee, set()) - new.get(grantee, set()),
                new.get(grantee, set()) - old.get(grantee, set()),
            )
        )
        statements += [
            f"REVOKE {privilege.removesuffix(WITH_GRANT_OPTION)}{columns} ON {on} FROM {grantee};"
            for privilege in lost
        ]
        for privilege in gained:
            name = privilege.removesuffix(WITH_GRANT_OPTION)
            option = WITH_GRANT_OPTION if name != privilege else ""
            statements.append(f"GRANT {name}{columns} ON {on} TO {grantee}{option};")
    return "\n".join(statements)


def _parse_grants(text: str) -> dict[str, set[str]]:
    """Read what the catalog says, such as `PUBLIC: SELECT; honua_worker: INSERT, SELECT`."""
    lines = (line.rpartition(": ") for line in text.split("; ") if line)
    return {grantee: set(privileges.split(", ")) for grantee, _, privileges in lines if grantee != "owner"}


def _grant_target(identity: Identity) -> tuple[str, str] | None:
    match identity.kind:
        case "table" | "view" | "materialized view" | "foreign table":
            return "", identity.name
        case "sequence" | "function" | "procedure" | "type" | "schema":
            return "", f"{identity.kind.upper()} {identity.name}"
        case "column":
            return f" ({identity.name})", str(identity.table)
    return None
