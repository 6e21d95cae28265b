"""What must hold before a schema is changed; nothing here changes anything."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import text

from honua_schema import history, roles, sqlfile
from honua_schema.errors import SchemaError

if TYPE_CHECKING:
    from collections.abc import Collection

    from alembic.script import ScriptDirectory
    from sqlalchemy import Connection

MINIMUM_SERVER_VERSION = 15
PARTITION_SCHEMA = "honua_partitions"


@dataclass(frozen=True)
class Server:
    """What a server and a database say about themselves and about the connected role.

    Attributes:
        version: Version as people write it, such as 18.1.
        version_number: The same as PostgreSQL compares it, such as 180001.
        database: Name of the connected database.
        encoding: How the database stores text, such as UTF8.
        role: Role that is connected.
        is_standby: Whether the server follows another one and takes no changes.
        is_read_only: Whether new transactions are read-only.
        may_create_in_public: Whether the role may create tables in the schema public.
        may_create_partitions: Whether the role may create the schema of the partitions, or create in it.
        version_table_owner: Owner of Alembic's version table, if this role has not the rights of that one.
        is_bound: Whether the role is a member of one of ours, and thus to stay bound by row security.
    """

    version: str
    version_number: int
    database: str
    encoding: str
    role: str
    is_standby: bool
    is_read_only: bool
    may_create_in_public: bool
    may_create_partitions: bool
    version_table_owner: str | None
    is_bound: bool


SERVER = text("""
    SELECT
        current_setting('server_version') AS version,
        current_setting('server_version_num')::integer AS version_number,
        current_database() AS database,
        current_setting('server_encoding') AS encoding,
        current_user AS role,
        pg_is_in_recovery() AS is_standby,
        current_setting('transaction_read_only') = 'on' AS is_read_only,
        COALESCE(
            has_schema_privilege(to_regnamespace('public')::oid, 'CREATE'), false
        ) AS may_create_in_public,
        COALESCE(
            has_schema_privilege(to_regnamespace(:partition_schema)::oid, 'CREATE'),
            has_database_privilege(current_database(), 'CREATE')
        ) AS may_create_partitions,
        (
            SELECT pg_get_userbyid(pg_class.relowner)
            FROM pg_class
            WHERE pg_class.oid = to_regclass('public.alembic_version')
              AND NOT pg_has_role(pg_class.relowner, 'USAGE')
        ) AS version_table_owner,
        EXISTS (
            SELECT FROM pg_roles WHERE pg_roles.rolname = ANY (:roles) AND pg_has_role(pg_roles.oid, 'MEMBER')
        ) AS is_bound
""").bindparams(partition_schema=PARTITION_SCHEMA, roles=list(roles.ROLES))

UNREADABLE = text("""
    SELECT
        pg_get_userbyid(pg_class.relowner) AS owner,
        current_user AS role,
        EXISTS (
            SELECT FROM pg_roles WHERE pg_roles.rolname = ANY (:roles) AND pg_has_role(pg_roles.oid, 'MEMBER')
        ) AS is_bound
    FROM pg_class
    WHERE pg_class.oid = to_regclass('public.' || :table) AND NOT has_table_privilege(pg_class.oid, 'SELECT')
""").bindparams(roles=list(roles.ROLES))

OBJECTS = text("""
    SELECT found.class = 'pg_proc'::regclass AS is_function, found.name,
        identified.type || ' ' || identified.identity AS description
    FROM (
        SELECT 'pg_class'::regclass, pg_class.oid, pg_class.relname
        FROM pg_class
        WHERE pg_class.relnamespace = to_regnamespace('public') AND pg_class.relname <> 'alembic_version'
        UNION ALL
        SELECT 'pg_type'::regclass, pg_type.oid, pg_type.typname
        FROM pg_type
        WHERE pg_type.typnamespace = to_regnamespace('public') AND pg_type.typrelid = 0
        UNION ALL
        SELECT 'pg_proc'::regclass, pg_proc.oid, pg_proc.proname
        FROM pg_proc
        WHERE pg_proc.pronamespace = to_regnamespace('public')
    ) AS found (class, oid, name)
    CROSS JOIN LATERAL pg_identify_object(found.class, found.oid, 0) AS identified
    ORDER BY description
""")
LISTED = 10  # objects; more would hide the remedy


def inspect_server(connection: Connection) -> Server:
    """Ask the server what `Server` holds.

    Args:
        connection: The database to look at.
    """
    return Server(**connection.execute(SERVER).one()._mapping)


def refuse_unsuitable_server(server: Server) -> None:
    """Refuse a server, or a role, that cannot take the schema.

    Args:
        server: What the server said.

    Raises:
        SchemaError: It is too old, takes no changes or not every text, or the role lacks a privilege.
    """
    if server.version_number < MINIMUM_SERVER_VERSION * 10_000:
        raise SchemaError(
            f"The server is PostgreSQL {server.version}; the schema needs {MINIMUM_SERVER_VERSION} or later.",
            "Upgrade the server, or name another one.",
        )
    if server.is_standby:
        raise SchemaError(
            "The server is a standby and takes no changes.", "Connect to the primary; the standby follows it."
        )
    if server.is_read_only:
        raise SchemaError(
            f"Transactions of role {server.role} in database {server.database} are read-only.",
            "Turn default_transaction_read_only off for this role and database, or connect as another role.",
        )
    if server.encoding != "UTF8":
        raise SchemaError(
            f"The database {server.database} is encoded in {server.encoding}, which can't hold every text.",
            "Use another database: createdb --encoding=UTF8 --template=template0 and its name make one.",
        )
    if owner := server.version_table_owner:
        raise _tables_of_another(owner, server.role, is_bound=server.is_bound)
    if not server.may_create_in_public:
        raise SchemaError(
            f"Role {server.role} may not create tables in the schema public of database {server.database}.",
            f'An administrator runs, in that database: GRANT CREATE ON SCHEMA public TO "{server.role}"',
        )
    if not server.may_create_partitions:
        raise SchemaError(
            f"Role {server.role} may not create the schema {PARTITION_SCHEMA} in database {server.database}, "
            "where the partitions of the logs live.",
            f'An administrator runs: GRANT CREATE ON DATABASE "{server.database}" TO "{server.role}"',
        )


def refuse_unreadable_table(connection: Connection, table: str) -> None:
    """Refuse a role that may not read what was applied.

    Args:
        connection: The database to look at.
        table: alembic_version or schema_migrations.

    Raises:
        SchemaError: The table exists, and the role may not read it.
    """
    if unreadable := connection.execute(UNREADABLE, {"table": table}).one_or_none():
        raise _tables_of_another(unreadable.owner, unreadable.role, is_bound=unreadable.is_bound)


def _tables_of_another(owner: str, role: str, *, is_bound: bool) -> SchemaError:
    # With the rights of the owner, a program would see the rows of all customers.
    grant = "" if is_bound else f', or an administrator runs: GRANT "{owner}" TO "{role}"'
    return SchemaError(
        f"The tables belong to role {owner}, whose rights role {role} does not have.",
        f"Connect as {owner}{grant or '.'}",
    )


def refuse_unknown_revision(heads: Collection[str], revisions: Collection[str]) -> None:
    """Refuse a database that a newer version of this package, or another project, has upgraded.

    Args:
        heads: Current revision of the database.
        revisions: The revisions of this package.

    Raises:
        SchemaError: The current revision is not among them.
    """
    newest = max(revisions)
    unknown = sorted(set(heads).difference(revisions))
    for head in unknown:
        if _is_newer(head, newest):
            raise SchemaError(
                f"The database is at revision {head}, which this version of honua-schema does not know "
                f"(its newest is {newest}): a newer version upgraded it.",
                "Install that newer version: pip install --upgrade honua-schema",
            )
    for head in unknown:
        raise SchemaError(
            f"The table alembic_version holds {head}, which is no revision of honua-schema: "
            "another project that uses Alembic has this database.",
            "Use another database.",
        )


def _is_newer(revision: str, newest: str) -> bool:
    return re.fullmatch("[0-9]{3}", revision) is not None and revision > newest


def refuse_several_revisions(heads: Collection[str], revisions: Collection[str]) -> None:
    """Refuse a database of which nobody can say where it is.

    Args:
        heads: What alembic_version holds.
        revisions: The revisions of this package.

    Raises:
        SchemaError: It is more than one revision.
    """
    if len(heads) < 2:
        return
    newest = max(revisions)
    known = set(heads).intersection(revisions)
    if not known or any(_is_newer(head, newest) for head in heads):
        refuse_unknown_revision(heads, revisions)
    raise SchemaError(
        f"The table alembic_version holds several revisions: {', '.join(sorted(heads))}.",
        f"If the tables are those of {max(known)}: honua-schema stamp {max(known)}. "
        "Then honua-schema verify says whether they are.",
    )


def refuse_old_database(heads: Collection[str], scripts: ScriptDirectory) -> None:
    """Refuse to compare the models with a database that the newest revision has not made.

    Args:
        heads: Current revision of the database.
        scripts: The revisions of this package.

    Raises:
        SchemaError: The database is at another revision.
    """
    if set(heads) != set(scripts.get_heads()):
        raise SchemaError(
            f"Target database is not up to date: it is at {', '.join(heads) or 'base'}, "
            f"the newest revision is {scripts.get_current_head()}.",
            "First run: honua-schema upgrade",
        )


def refuse_edited_revisions(connection: Connection, scripts: ScriptDirectory) -> None:
    """Refuse to build on revisions whose files were changed after they had been applied.

    Args:
        connection: The database to look at.
        scripts: The revisions of this package.

    Raises:
        SchemaError: The checksum of an applied revision differs from the recorded one.
    """
    edited = history.edited_revisions(history.recorded_checksums(connection), scripts)
    if edited:
        names = ", ".join(Path(script.path).name for script in edited)
        raise SchemaError(
            f"The files of applied revisions were edited: {names}.",
            "Restore them as they were when they were applied, and put the change into a new revision.",
        )


def refuse_unrecorded_stamp(connection: Connection) -> None:
    """Refuse to stamp a revision where nothing could be recorded about it.

    Args:
        connection: The database to look at.

    Raises:
        SchemaError: schema_migrations does not exist.
    """
    if not history.has_table(connection):
        raise SchemaError(
            "No revision can be stamped: the table schema_migrations, which would record it, does not exist.",
            "Stamp only a database that has the tables of the revision. On an empty one, use upgrade.",
        )


def refuse_foreign_objects(connection: Connection, applied: Collection[str], newest: str) -> None:
    """Refuse to install into a database that already has objects of our names.

    Once revisions are applied, only functions and views are looked for, which the others would replace
    without a word. What else has the name of ours stops its revision, and nothing of that stays.

    Args:
        connection: The database to look at.
        applied: The revisions that it has.
        newest: The newest revision of this package.

    Raises:
        SchemaError: There is a table, view, index, sequence, type or function with the name of one of ours.
    """
    existing = connection.execute(OBJECTS).all()
    if not existing:  # the usual case, and then the models need not be loaded
        return
    made = {path.stem for version in applied for path in (sqlfile.FROZEN / version).rglob("*.sql")}
    objects = [each for each in sqlfile.load_objects() if each.name not in made]
    # Whatever its arguments: with another of its name, a function could not be named without them.
    functions = {each.name for each in objects if each.kind == "function"}
    relations = {each.name for each in objects if each.kind == "view"}
    if not applied:
        from honua_schema import declared

        relations |= declared.relation_names()
    clashes = [each for each in existing if each.name in (functions if each.is_function else relations)]
    if not clashes:
        return
    found = {(each.is_function, each.name) for each in clashes}
    if not applied and len(found) == len(functions) + len(relations):
        raise SchemaError(
            f"The database has no revision, but everything that revision {newest} has.",
            f"If honua-schema made it, and only alembic_version was lost: honua-schema stamp {newest}. "
            "Then honua-schema verify says whether all is as it should be. Else use another database.",
        )
    names = ", ".join(each.description for each in clashes[:LISTED])
    more = f" and {len(clashes) - LISTED} more" if len(clashes) > LISTED else ""
    raise SchemaError(
        f"The database has objects of our names that its revisions have not made: {names}{more}.",
        "Rename them, move them to another schema, or use another database for honua-schema.",
    )
