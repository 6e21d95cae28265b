"""Look at a database as an upgrade and as daily operation would, and say what is wrong before it hurts."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import exists, select, table, text

from honua_schema import locking, preflight, roles
from honua_schema.errors import SchemaError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from honua_schema.runner import MigrationRunner, Verification

EXTENSIONS = ("pgcrypto", "uuid-ossp")
OFFERED_EXTENSIONS = text("SELECT pg_available_extensions.name FROM pg_available_extensions")
DEFAULT_PARTITIONS = text("""
    SELECT partition.relname AS name,
        has_schema_privilege(partition.relnamespace, 'USAGE')
            AND has_table_privilege(partition.oid, 'SELECT') AS is_readable
    FROM pg_class partition
    WHERE partition.relnamespace = to_regnamespace(:schema)
      AND pg_get_expr(partition.relpartbound, partition.oid) = 'DEFAULT'
    ORDER BY partition.relname
""")
TABLES_WITHOUT_NEXT_MONTH = text("""
    SELECT parent.relname
    FROM pg_class parent
    WHERE parent.relkind = 'p' AND parent.relnamespace = to_regnamespace('public')
      AND NOT EXISTS (
          SELECT
          FROM pg_class partition
          WHERE partition.relnamespace = to_regnamespace(:schema)
            AND partition.relname = parent.relname
                || to_char(now() AT TIME ZONE 'UTC' + interval '1 month', '"_y"YYYY"m"MM')
      )
    ORDER BY parent.relname
""")


class Level(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """What was found out about one thing.

    Attributes:
        subject: What was looked at.
        level: How bad it is.
        message: What was found.
        remedy: What to do about it.
    """

    subject: str
    level: Level
    message: str
    remedy: str = ""


def examine(runner: MigrationRunner) -> list[Finding]:
    """Look at the server, at the revisions and at the partitions; nothing is changed.

    Args:
        runner: The database to look at.
    """
    try:
        with runner.connect() as connection:
            server = preflight.inspect_server(connection)
            findings = [Finding("connection", Level.OK, f"{server.role} reaches database {server.database}")]
            findings += _examine_server(server)
            findings += _examine_extensions(connection)
            findings += _examine_upgrade_lock(connection)
            findings += _examine_partitions(connection)
            findings += _examine_roles(connection)
    except SchemaError as error:
        return [Finding("connection", Level.PROBLEM, error.message, error.remedy)]
    try:
        findings += _examine_revisions(runner)
    except SchemaError as error:
        findings.append(Finding("revisions", Level.PROBLEM, error.message, error.remedy))
    return findings


def _examine_server(server: preflight.Server) -> Iterator[Finding]:
    try:
        preflight.refuse_unsuitable_server(server)
    except SchemaError as error:
        yield Finding("server", Level.PROBLEM, error.message, error.remedy)
    else:
        yield Finding(
            "server", Level.OK, f"PostgreSQL {server.version}, and {server.role} may upgrade the schema"
        )


def _examine_extensions(connection: Connection) -> Iterator[Finding]:
    offered = set(connection.scalars(OFFERED_EXTENSIONS))
    if missing := [name for name in EXTENSIONS if name not in offered]:
        yield Finding(
            "extensions",
            Level.WARNING,
            f"The server does not offer {' and '.join(missing)}; nothing depends on them.",
            "To have them, install PostgreSQL's contrib package on the server.",
        )
    else:
        yield Finding("extensions", Level.OK, f"The server offers {' and '.join(EXTENSIONS)}")


def _examine_upgrade_lock(connection: Connection) -> Iterator[Finding]:
    if holder := locking.lock_holder(connection):
        yield Finding(
            "upgrade",
            Level.WARNING,
            f"An upgrade is under way: {holder}",
            "Wait until it is done; another one would wait as well.",
        )
    else:
        yield Finding("upgrade", Level.OK, "No upgrade is under way")


def _examine_partitions(connection: Connection) -> Iterator[Finding]:
    in_schema = {"schema": preflight.PARTITION_SCHEMA}
    partitions = connection.execute(DEFAULT_PARTITIONS, in_schema).all()
    unreadable = [each.name for each in partitions if not each.is_readable]
    readable = [table(each.name, **in_schema) for each in partitions if each.is_readable]
    filled = [each.name for each in readable if connection.scalar(select(exists().select_from(each)))]
    missing = list(connection.scalars(TABLES_WITHOUT_NEXT_MONTH, in_schema))
    remedy = "Run SELECT ensure_log_partitions(), daily if nothing else does."
    if filled:
        yield Finding("partitions", Level.WARNING, f"Rows wait in {', '.join(filled)}.", remedy)
    if missing:
        yield Finding(
            "partitions",
            Level.WARNING,
            f"There is no partition for next month of {', '.join(missing)}.",
            remedy,
        )
    if unreadable:
        yield Finding(
            "partitions",
            Level.WARNING,
            f"Whether rows wait in {', '.join(unreadable)} is not readable by this role.",
            "Connect as the owner of the tables.",
        )
    if not filled and not missing and not unreadable:
        yield Finding("partitions", Level.OK, "Next month has its partitions, and no row is in a default one")


def _examine_roles(connection: Connection) -> Iterator[Finding]:
    problems = list(roles.find_problems(connection))
    for message, remedy in problems:
        yield Finding("roles", Level.PROBLEM, message, remedy)
    if not problems:
        yield Finding("roles", Level.OK, "The roles are there or can be made, and are bound by row security")


def _examine_revisions(runner: MigrationRunner) -> Iterator[Finding]:
    status = runner.get_status()
    known = [each.version for each in runner.get_available_migrations()]
    preflight.refuse_unknown_revision([status.current_version] if status.current_version else [], known)
    for revisions, level, message, remedy in (
        (
            status.unknown,
            Level.PROBLEM,
            "In schema_migrations, but unknown to this version of the package:",
            "If a newer one was here, install it: pip install --upgrade honua-schema",
        ),
        (
            [f"{each.version} {each.name}" for each in status.edited],
            Level.PROBLEM,
            "Files of applied revisions were edited:",
            "Restore them, and put the change into a new revision.",
        ),
        (
            [f"{each.version} {each.name}" for each in status.unrecorded],
            Level.WARNING,
            "Applied, but not in schema_migrations:",
            f"Record them: honua-schema stamp {status.current_version}",
        ),
    ):
        if revisions:
            yield Finding("revisions", level, f"{message} {', '.join(revisions)}", remedy)
    if status.pending:
        yield _examine_pending(runner, status, known)
    if status.is_good:
        yield Finding(
            "revisions", Level.OK, f"The database is at {status.current_version}, the newest revision"
        )


def _examine_pending(runner: MigrationRunner, status: Verification, known: list[str]) -> Finding:
    applied = known[: len(known) - len(status.pending)]
    try:
        with runner.connect() as connection:
            preflight.refuse_foreign_objects(connection, applied, known[-1])
    except SchemaError as error:
        return Finding("revisions", Level.PROBLEM, error.message, error.remedy)
    pending = ", ".join(f"{each.version} {each.name}" for each in status.pending)
    remedy = "Apply them: honua-schema upgrade"
    return Finding("revisions", Level.WARNING, f"Not applied yet: {pending}", remedy)
