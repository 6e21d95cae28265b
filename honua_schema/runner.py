"""Apply, take back and verify the revisions from Python; no alembic.ini is needed."""

from __future__ import annotations

import io
import logging
import threading
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.script.revision import RevisionError
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, select
from sqlalchemy.exc import DBAPIError

from honua_schema import database, history, preflight, refusals
from honua_schema.environment import Phase, Progress, no_way
from honua_schema.errors import SchemaError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from datetime import datetime, timedelta
    from pathlib import Path

    from sqlalchemy import URL

    from honua_schema.autogenerate import Difference

log = logging.getLogger("honua_schema")

# Alembic keeps the command under way in a module, so one process can run one at a time.
_one_command = threading.Lock()


@dataclass(frozen=True)
class Migration:
    """A revision that this package has.

    Attributes:
        version: Its number, such as 001.
        name: Its name, such as initial_schema.
        checksum: SHA-256 of its files, in hexadecimal.
    """

    version: str
    name: str
    checksum: str


@dataclass(frozen=True)
class RecordedMigration:
    """A row of schema_migrations.

    Attributes:
        version: Number of the revision.
        name: Its name.
        applied_at: When it was applied.
        applied_by: Role that applied it.
        checksum: SHA-256 of its files when it was applied, in hexadecimal.
        execution_time_ms: How long it took, in milliseconds; 0 if it was stamped.
    """

    version: str
    name: str
    applied_at: datetime
    applied_by: str
    checksum: str
    execution_time_ms: int


@dataclass(frozen=True)
class AppliedMigration:
    """What became of one revision.

    Attributes:
        version: Its number.
        name: Its name.
        success: Whether it was applied, or taken back.
        error: Why not, if it was not.
        execution_time_ms: How long it took, in milliseconds; None if it failed.
    """

    version: str
    name: str
    success: bool
    error: str | None = None
    execution_time_ms: int | None = None


@dataclass(frozen=True)
class MigrationResult:
    """What became of an upgrade or a downgrade.

    Attributes:
        success: Whether the database is now where it should be.
        applied_migrations: What became of each revision that was tried, in order.
        errors: What went wrong, with its remedy.
    """

    success: bool
    applied_migrations: list[AppliedMigration]
    errors: list[str]


@dataclass(frozen=True)
class Verification:
    """How a database compares with this package.

    Attributes:
        current_version: Revision of the database; None if it has none.
        applied: What schema_migrations holds.
        pending: Revisions still to be applied.
        edited: Applied revisions whose files have changed since.
        unrecorded: Applied revisions that schema_migrations does not hold.
        unknown: Versions of the database that this package does not have.
        differences: What in the database is not as declared; looked for only when nothing else is wrong.
    """

    current_version: str | None
    applied: list[RecordedMigration]
    pending: list[Migration]
    edited: list[Migration]
    unrecorded: list[Migration]
    unknown: list[str]
    differences: list[Difference]

    @property
    def is_good(self) -> bool:
        """Whether the database is exactly as this package wants it."""
        wrong = (self.pending, self.edited, self.unrecorded, self.unknown, self.differences)
        return not any(wrong)


def configuration(versions: Path | None = None, **attributes: Any) -> Config:
    """Return a configuration for Alembic, the same that alembic.ini has.

    Args:
        versions: Folder of the revisions; by default, those of this package.
        attributes: What env.py is to know, such as ``url`` or ``connection``.
    """
    config = Config(stdout=io.StringIO(), attributes=attributes)
    config.set_main_option("script_location", "honua_schema:")
    if versions:
        config.set_main_option("version_locations", str(versions).replace("%", "%%"))
        config.set_main_option("path_separator", "newline")
    return config


def refuse_unknown_target(target: str, available: Collection[Migration]) -> None:
    """Refuse to go to a revision that this package does not have, before any database is asked.

    Args:
        target: A revision, head or base.
        available: The revisions of this package.

    Raises:
        UsageError: There is no such revision.
    """
    order = ["base", *(migration.version for migration in available), "head"]
    if target not in order:
        raise UsageError(f"There is no revision {target}.", f"Choose one of {', '.join(order)}.")


class MigrationRunner:
    """Applies the revisions of this package to a database.

    Methods that change the database return what happened instead of raising an error; the others raise
    `SchemaError` when the database cannot be reached or read.

    Args:
        url: The database; without one, the environment says: DATABASE_URL, or PG_HOST, PG_PORT, PG_DATABASE,
            PG_USER and PG_PASSWORD.
        connection: An engine or a connection to use instead. If a transaction has begun on the connection,
            everything happens in it, and the caller commits.
        lock_timeout: How long a statement waits for a table that is in use; zero for no limit. By default,
            what HONUA_LOCK_TIMEOUT says, else 5 seconds.
        lock_wait: How long to wait while another process changes the schema of the same database. By default,
            what HONUA_LOCK_WAIT says, else 10 minutes.
        attempts: How often a revision is tried when a table is in use for longer than ``lock_timeout``; by
            default, 5 times.
        progress: Called before and after each revision, and when there is something to wait for.
        versions: Folder of the revisions; by default, those of this package.

    Raises:
        UsageError: The URL cannot be read, or is not for PostgreSQL.
    """

    def __init__(
        self,
        url: str | URL | None = None,
        *,
        connection: Engine | Connection | None = None,
        lock_timeout: timedelta | None = None,
        lock_wait: timedelta | None = None,
        attempts: int | None = None,
        progress: Callable[[Progress], None] | None = None,
        versions: Path | None = None,
    ) -> None:
        self.url = connection.engine.url if connection is not None else database.resolve_url(url)
        self._connection = connection if connection is not None else database.create_engine(self.url)
        self._progress = progress
        self._attributes = {
            "connection": self._connection,
            "lock_timeout": lock_timeout,
            "lock_wait": lock_wait,
            "attempts": attempts,
        }
        self._versions = versions

    def validate_connection(self) -> bool:
        """Return whether the database can be reached; if not, the log says why."""
        try:
            with self.connect() as connection:
                connection.scalar(select(1))
        except SchemaError as error:
            log.error("%s", error)
            return False
        return True

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """Open a connection to the database, or use the one given.

        Raises:
            SchemaError: The database cannot be reached, or refuses a statement.
        """
        try:
            if isinstance(self._connection, Connection):
                with database.lent(self._connection):
                    yield self._connection
            else:
                with database.connect(self._connection) as connection:
                    yield connection
        except DBAPIError as error:
            raise refusals.explain(error) from error

    def get_available_migrations(self) -> list[Migration]:
        """Return the revisions of this package, in order."""
        scripts = ScriptDirectory.from_config(configuration(self._versions))
        return [
            Migration(script.revision, history.revision_name(script), history.checksum(script))
            for script in reversed(list(scripts.walk_revisions()))
        ]

    def get_applied_migrations(self) -> list[RecordedMigration]:
        """Return what schema_migrations holds, in order; nothing where there is no such table.

        Raises:
            SchemaError: The database cannot be reached or read.
        """
        with self.connect() as connection:
            return self._recorded(connection)

    def get_current_version(self) -> str | None:
        """Return the revision of the database; None if it has none.

        Raises:
            SchemaError: The database cannot be reached or read.
        """
        with self.connect() as connection:
            return self._current_version(connection)

    def get_pending_migrations(self, target: str = "head") -> list[Migration]:
        """Return the revisions that an upgrade would apply, in order; none if the target is applied already.

        Args:
            target: The revision to go to, such as 003, +1 or head.

        Raises:
            SchemaError: The database cannot be reached or read, or there is no way to the target.
        """
        status = self.get_status()
        if not status.pending:
            return []
        scripts = ScriptDirectory.from_config(configuration(self._versions))
        current = status.current_version or "base"
        try:
            on_the_way = {
                each.revision for each in scripts.iterate_revisions(target, current, implicit_base=True)
            }
        except (RevisionError, CommandError) as error:
            raise no_way(target, error, current, scripts) from error
        return [each for each in status.pending if each.version in on_the_way]

    def is_migration_applied(self, version: str) -> bool:
        """Return whether a revision has been applied.

        Args:
            version: Number of the revision, such as 003.

        Raises:
            SchemaError: The database cannot be reached or read.
        """
        return any(migration.version == version for migration in self.get_applied_migrations())

    def apply_migrations(self, target: str = "head") -> MigrationResult:
        """Upgrade the database.

        Args:
            target: The revision to go to, such as 003, +1 or head.
        """
        return self._change(lambda config: command.upgrade(config, target))

    def rollback(self, target: str) -> MigrationResult:
        """Downgrade the database. What the revisions taken back have created is lost, with all data in it.

        Args:
            target: The revision to go back to, such as 003, -1 or base.
        """
        return self._change(lambda config: command.downgrade(config, target))

    def stamp(self, target: str) -> MigrationResult:
        """Record that the database is at a revision, without running any.

        Args:
            target: The revision, such as 003, head or base.
        """
        # Purged first, so that a stamp of the current revision also records what is missing.
        return self._change(lambda config: command.stamp(config, target, purge=target != "base"))

    def _change(self, run: Callable[[Config], None]) -> MigrationResult:
        outcomes: list[AppliedMigration] = []
        under_way: list[Progress] = []

        def follow(progress: Progress) -> None:
            if progress.phase is Phase.STARTED:
                under_way[:] = [progress]
            elif progress.phase is Phase.FINISHED:
                under_way.clear()
                if progress.version:
                    outcomes.append(
                        AppliedMigration(
                            progress.version, progress.name, True, None, progress.execution_time_ms
                        )
                    )
            if self._progress:
                self._progress(progress)

        try:
            self._run(run, report=follow)
        except CommandError as error:
            outcomes.extend(
                AppliedMigration(each.version, each.name, False, str(error)) for each in under_way
            )
            return MigrationResult(False, outcomes, [str(error)])
        return MigrationResult(True, outcomes, [])

    def get_status(self) -> Verification:
        """Compare the revisions of the database with those of this package, but not the tables.

        Raises:
            SchemaError: The database cannot be reached or read.
        """
        available = self.get_available_migrations()
        with self.connect() as connection:
            current = self._current_version(connection)
            recorded = self._recorded(connection)
        versions = [migration.version for migration in available]
        applied_count = versions.index(current) + 1 if current in versions else 0
        checksums = {migration.version: migration.checksum for migration in recorded}
        in_database = {*checksums, current} if current else set(checksums)
        return Verification(
            current_version=current,
            applied=recorded,
            pending=[] if current and current not in versions else available[applied_count:],
            edited=[
                each for each in available if checksums.get(each.version, each.checksum) != each.checksum
            ],
            unrecorded=[each for each in available[:applied_count] if each.version not in checksums],
            unknown=sorted(in_database.difference(versions)),
            differences=[],
        )

    def verify(self, ignore: Collection[str] = ()) -> Verification:
        """Compare the database with this package: its revisions, and everything in it with what is declared.

        Args:
            ignore: As in `get_differences`.

        Raises:
            SchemaError: The database cannot be reached or read.
        """
        status = self.get_status()
        return replace(status, differences=self.get_differences(ignore)) if status.is_good else status

    def get_differences(self, ignore: Collection[str] = ()) -> list[Difference]:
        """Return where the database is not what the models and the SQL files declare.

        Takes no lock that others would wait for, and leaves the database as it was.

        Args:
            ignore: Objects of others in the schema, such as ``table invoices`` or ``function invoice_*``.

        Raises:
            SchemaError: The database cannot be reached or read, or is not at the newest revision.
        """
        # Only a comparison needs the models.
        from honua_schema.autogenerate import compare

        status = self.get_status()
        if status.current_version:
            known = [each.version for each in self.get_available_migrations()]
            preflight.refuse_unknown_revision([status.current_version], known)
        if pending := status.pending:
            versions = ", ".join(each.version for each in pending)
            raise SchemaError(f"The database is not up to date: {versions} pending.", "Upgrade it first.")
        with self.connect() as connection:
            found = compare(connection).differences
        return [each for each in found if not any(fnmatchcase(str(each.identity), name) for name in ignore)]

    def sql(self, target: str = "head", *, start: str = "base") -> str:
        """Return the SQL that takes a database from one revision to another, for psql; no database is needed.

        Args:
            target: The revision to go to: a number, head or base.
            start: The revision that the database has: a number, head or base.

        Raises:
            UsageError: There is no such revision.
        """
        available = self.get_available_migrations()
        for version in (start, target):
            refuse_unknown_target(version, available)
        order = ["base", *(migration.version for migration in available), "head"]
        output = io.StringIO()
        run = command.downgrade if order.index(target) < order.index(start) else command.upgrade
        self._run(lambda config: run(config, f"{start}:{target}", sql=True), output_buffer=output)
        return output.getvalue()

    def _run(
        self,
        run: Callable[[Config], None],
        *,
        output_buffer: io.StringIO | None = None,
        report: Callable[[Progress], None] | None = None,
    ) -> None:
        """Run a command of Alembic."""
        config = configuration(self._versions, **self._attributes)
        config.output_buffer = output_buffer
        if report:
            config.attributes["report"] = report
        with _one_command:
            run(config)

    def _current_version(self, connection: Connection) -> str | None:
        preflight.refuse_unreadable_table(connection, "alembic_version")
        heads = MigrationContext.configure(connection).get_current_heads()
        preflight.refuse_several_revisions(heads, [each.version for each in self.get_available_migrations()])
        return max(heads, default=None)

    def _recorded(self, connection: Connection) -> list[RecordedMigration]:
        if not history.has_table(connection):
            return []
        preflight.refuse_unreadable_table(connection, "schema_migrations")
        table = history.schema_migrations
        return [
            RecordedMigration(*row) for row in connection.execute(select(table).order_by(table.c.version))
        ]
