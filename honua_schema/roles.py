"""What the roles may do in a database, and whether anything makes their limits worth nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import text

from honua_schema.errors import SchemaError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

ROLES = ("honua_app", "honua_maintenance", "honua_readonly", "honua_worker")

GRANTED = text("""
    WITH acl (kind, name, detail, items) AS (
        SELECT
            CASE c.relkind WHEN 'S' THEN 'sequence' WHEN 'v' THEN 'view' ELSE 'table' END,
            c.relname, NULL, c.relacl
        FROM pg_class AS c
        WHERE c.relnamespace = to_regnamespace('public')
        UNION ALL
        SELECT CASE c.relkind WHEN 'v' THEN 'view' ELSE 'table' END, c.relname, a.attname, a.attacl
        FROM pg_class AS c
        JOIN pg_attribute AS a ON a.attrelid = c.oid
        WHERE c.relnamespace = to_regnamespace('public')
        UNION ALL
        SELECT 'function', p.proname, NULL, p.proacl
        FROM pg_proc AS p
        WHERE p.pronamespace = to_regnamespace('public')
    )
    SELECT
        granted.role, granted.kind, granted.name,
        string_agg(granted.verb, '; ' ORDER BY granted.verb) AS verbs
    FROM (
        SELECT
            pg_get_userbyid(item.grantee) AS role, acl.kind, acl.name,
            item.privilege_type
                || coalesce(' (' || string_agg(acl.detail, ', ' ORDER BY acl.detail) || ')', '') AS verb
        FROM acl
        CROSS JOIN aclexplode(acl.items) AS item
        WHERE pg_get_userbyid(item.grantee) = ANY (:roles)
        GROUP BY item.grantee, acl.kind, acl.name, item.privilege_type, acl.detail IS NULL
    ) AS granted
    GROUP BY granted.role, granted.kind, granted.name
    ORDER BY granted.role, granted.kind DESC, granted.name
""")

UNBOUND_MEMBERS = text("""
    WITH RECURSIVE given (role, member) AS (
        SELECT a.roleid, a.member
        FROM pg_auth_members AS a
        -- From PostgreSQL 16 on, who makes a role becomes a member who can only make others members.
        WHERE coalesce((to_jsonb(a) ->> 'inherit_option')::boolean, true)
           OR coalesce((to_jsonb(a) ->> 'set_option')::boolean, true)
    ), held (role, member) AS (
        SELECT g.role, g.member FROM given AS g
        UNION
        SELECT g.role, h.member FROM held AS h JOIN given AS g ON g.member = h.role
    ), strong (role, name, is_owner) AS (
        SELECT s.oid, s.rolname, NOT (s.rolsuper OR s.rolbypassrls)
        FROM pg_roles AS s
        WHERE s.rolname <> ALL (:roles)
          AND (
            s.rolsuper OR s.rolbypassrls
            OR s.oid = (SELECT c.relowner FROM pg_class AS c WHERE c.oid = to_regclass('public.customers'))
          )
    )
    SELECT r.rolname AS role, m.rolname AS member, s.is_owner, s.name AS by_role
    FROM held AS h
    JOIN pg_roles AS r ON r.oid = h.role
    JOIN pg_roles AS m ON m.oid = h.member
    JOIN LATERAL (
        SELECT strong.is_owner, strong.name
        FROM strong
        WHERE strong.role = m.oid
           OR strong.role IN (SELECT also.role FROM held AS also WHERE also.member = m.oid)
        ORDER BY strong.role <> m.oid, strong.name
        LIMIT 1
    ) AS s ON true
    WHERE r.rolname = ANY (:roles) AND m.rolname <> ALL (:roles)
    ORDER BY 1, 2
""")

MISSING = text("""
    SELECT needed.name
    FROM unnest(CAST(:roles AS text[])) AS needed (name)
    WHERE NOT EXISTS (SELECT FROM pg_roles AS r WHERE r.rolname = needed.name)
    ORDER BY needed.name
""")

TOO_STRONG = text("""
    SELECT r.rolname
    FROM pg_roles AS r
    WHERE r.rolname = ANY (:roles) AND (r.rolsuper OR r.rolbypassrls OR r.rolcanlogin)
    ORDER BY r.rolname
""")

MAY_CREATE_ROLES = text("""
    SELECT r.rolsuper OR r.rolcreaterole FROM pg_roles AS r WHERE r.rolname = current_user
""")

MAY_CREATE_OBJECTS = text("""
    SELECT CASE item.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(item.grantee)) END
    FROM pg_namespace AS n
    CROSS JOIN aclexplode(n.nspacl) AS item
    WHERE n.oid = to_regnamespace('public')
      AND item.privilege_type = 'CREATE'
      AND (
        item.grantee = 0
        OR item.grantee IN (
            SELECT m.oid
            FROM pg_roles AS m
            JOIN pg_roles AS r ON r.rolname = ANY (:roles) AND pg_has_role(m.oid, r.oid, 'MEMBER')
            WHERE NOT m.rolsuper
        )
      )
    ORDER BY 1
""")

SEES_ALL_ROWS = text("""
    SELECT NOT row_security_active(CAST(:table AS text)) OR EXISTS (
        SELECT FROM pg_roles AS r WHERE r.rolname = 'honua_readonly' AND pg_has_role(r.oid, 'USAGE')
    )
""")


@dataclass(frozen=True)
class Grant:
    """What a role may do with an object.

    Attributes:
        role: The role.
        kind: table, view, sequence or function.
        name: The object.
        verbs: What it may do, with the columns where it is not all of them.
    """

    role: str
    kind: str
    name: str
    verbs: str


def granted(connection: Connection) -> list[Grant]:
    """Return what the roles may do in a database.

    Args:
        connection: The database.
    """
    return [Grant(**row) for row in connection.execute(GRANTED, {"roles": list(ROLES)}).mappings()]


def refuse_hidden_rows(connection: Connection, table: str, rows: str) -> None:
    """Refuse a role to which row security shows only some rows of a table, for the rest would seem not to be.

    Args:
        connection: The database.
        table: The table.
        rows: What its rows are, for the message.

    Raises:
        SchemaError: The role is neither the owner nor a member of honua_readonly.
    """
    if not connection.scalar(SEES_ALL_ROWS, {"table": table}):
        raise SchemaError(
            f"Row security hides {rows} from this role.",
            "Connect as the owner of the tables, or as a member of honua_readonly.",
        )


def find_problems(connection: Connection) -> Iterator[tuple[str, str]]:
    """Yield what keeps the roles from being made, or their limits from holding, each with a remedy.

    Args:
        connection: The database.
    """
    roles = {"roles": list(ROLES)}
    missing = connection.scalars(MISSING, roles).all()
    if missing and not connection.scalar(MAY_CREATE_ROLES):
        yield (
            f"The roles {', '.join(missing)} are missing, and this role may not create them.",
            "An administrator runs: " + " ".join(f"CREATE ROLE {role} NOLOGIN;" for role in missing),
        )
    for role in connection.scalars(TOO_STRONG, roles):
        yield (
            f"Role {role} may log in, or is not bound by row security.",
            f"An administrator runs: ALTER ROLE {role} NOLOGIN NOSUPERUSER NOBYPASSRLS;",
        )
    for role, member, is_owner, by_role in connection.execute(UNBOUND_MEMBERS, roles):
        if by_role != member:
            remedy = f"REVOKE {by_role} FROM {member};"
        elif is_owner:
            remedy = f"REVOKE {role} FROM {member};"
        else:
            remedy = f"ALTER ROLE {member} NOSUPERUSER NOBYPASSRLS;"
        yield (
            f"Role {member}, a member of {role}, is not bound by row security.",
            f"Connect the application as another role, or: {remedy}",
        )
    for grantee in connection.scalars(MAY_CREATE_OBJECTS, roles):
        yield (
            f"{grantee} may create objects in the schema public, where the owner's functions look for names.",
            f"Its owner runs: REVOKE CREATE ON SCHEMA public FROM {grantee};",
        )
