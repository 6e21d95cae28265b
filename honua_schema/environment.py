"""What happens around the revisions: Alembic's env.py does nothing but call `run`."""

from __future__ import annotations

import logging
import os
import random
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from itertools import dropwhile
from typing import TYPE_CHECKING, Any

from alembic import context
from alembic.runtime.migration import RevisionStep, StampStep
from alembic.util import CommandError, to_tuple
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from honua_schema import database, history, locking, preflight
from honua_schema.errors import LockNotObtainedError, SchemaError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from alembic.runtime.migration import MigrationContext, MigrationInfo
    from alembic.script import ScriptDirectory

    Step = RevisionStep | StampStep

AUTOGENERATE_PLUGINS = ("alembic.autogenerate.*", "alembic.ext.checkconstraint_byname")
TABLE_IN_USE = {"55P03", "40P01"}
"""SQLSTATE of lock_not_available and deadlock_detected."""
RETRY_PAUSE, LONGEST_RETRY_PAUSE = 0.5, 15.0  # seconds; the first one is doubled at each attempt

log = logging.getLogger("honua_schema")


class Phase(StrEnum):
    """What an upgrade is doing."""

    WAITING = "waiting"
    STARTED = "started"
    FINISHED = "finished"
    RETRYING = "retrying"


@dataclass(frozen=True)
class Progress:
    """A report while a schema is being changed.

    Attributes:
        phase: What is going on.
        message: The same in words.
        version: The revision concerned; empty while waiting for another upgrade.
        name: Its name.
        execution_time_ms: How long the revision took, once it has finished.
    """

    phase: Phase
    message: str
    version: str = ""
    name: str = ""
    execution_time_ms: int | None = None


def write_to_log(progress: Progress) -> None:
    """Write a report to the log; Alembic itself logs the beginning of each revision.

    Args:
        progress: The report.
    """
    log.log(logging.DEBUG if progress.phase is Phase.STARTED else logging.INFO, "%s", progress.message)


@dataclass(frozen=True)
class Settings:
    """How a schema is changed.

    Attributes:
        lock_timeout: How long a statement waits for a table that is in use; zero for no limit.
        lock_wait: How long to wait while another process changes the schema of the same database.
        attempts: How often a revision is tried when ``lock_timeout`` ends it.
        report: Called with each `Progress`.
    """

    lock_timeout: timedelta = timedelta(seconds=5)
    lock_wait: timedelta = timedelta(minutes=10)
    attempts: int = 5
    report: Callable[[Progress], None] = write_to_log


def run() -> None:
    """Run the Alembic command under way, on a database or, with ``--sql``, on paper.

    The database is the connection or the engine in ``config.attributes["connection"]``, else the URL of
    ``-x url=...`` or ``config.attributes["url"]``, else what the environment says. ``lock_timeout`` and
    ``lock_wait`` are options of the same kind, in the environment HONUA_LOCK_TIMEOUT and HONUA_LOCK_WAIT.

    Raises:
        SchemaError: Something that a person has to put right. The revisions applied before it stand.
    """
    options = command_options()
    if context.is_offline_mode() or is_plain_revision(options):
        write_sql(options, settings())
        return
    with database.translated_errors("PostgreSQL refused"), connection() as connected:
        if "destination_rev" in options:
            SchemaChange(connected, settings()).run()
            return
        # Else a command that only reads, and must not make the version table either.
        configured = configure(options, connection=connected, dont_mutate=True)
        if "revision_context" in options:
            preflight.refuse_old_database(configured.get_current_heads(), context.script)
        context.run_migrations()


def command_options() -> Mapping[str, Any]:
    """Return what the Alembic command under way asked for: where to go, or to compare with the models."""
    # Alembic shows these only after configure(), and what to configure depends on them.
    options: Mapping[str, Any] = vars(context)["_proxy"].context_opts
    return options


def is_plain_revision(options: Mapping[str, Any]) -> bool:
    """Return whether the command is `alembic revision` without ``--autogenerate``, which needs no database.

    Args:
        options: As from `command_options`.
    """
    return "revision_context" in options and not options["revision_context"].command_args["autogenerate"]


def given(name: str) -> Any:
    """Return an option of the command under way, or None: from ``-x``, the configuration or the environment.

    Args:
        name: The option, such as lock_timeout.
    """
    of_command = context.get_x_argument(as_dictionary=True).get(name)
    candidates = (of_command, context.config.attributes.get(name), os.environ.get(f"HONUA_{name.upper()}"))
    return next((value for value in candidates if value is not None), None)


def settings() -> Settings:
    """Return the settings for the command under way; those not given have their defaults."""
    attributes = context.config.attributes
    chosen = {name: value for name in ("attempts", "report") if (value := attributes.get(name)) is not None}
    for name in ("lock_timeout", "lock_wait"):
        if (value := given(name)) is not None:
            chosen[name] = locking.parse_duration(value, name)
    return Settings(**chosen)


@contextmanager
def connection() -> Iterator[Connection]:
    """Open the connection for the command under way, or use the one that the caller has passed in."""
    passed_in = context.config.attributes.get("connection")
    if isinstance(passed_in, Connection):
        with database.lent(passed_in):
            if locking.is_autocommit(passed_in):
                raise SchemaError(
                    "The connection is in autocommit mode, in which a revision that fails stays half done.",
                    "Pass a connection without AUTOCOMMIT, or an engine.",
                )
            yield passed_in
        return
    engine = passed_in if isinstance(passed_in, Engine) else database.create_engine(given("url"))
    with database.connect(engine) as opened:
        yield opened


def configure(options: Mapping[str, Any], **arguments: Any) -> MigrationContext:
    """Configure Alembic.

    Args:
        options: As from `command_options`.
        arguments: What differs between online and offline.
    """
    if "revision_context" in options:
        # Only a comparison, or a new revision, needs the models.
        from honua_schema.autogenerate import plugin, revision
        from honua_schema.models import Base

        arguments |= {
            "target_metadata": Base.metadata,
            "include_name": plugin.include_name,
            "render_item": plugin.render_item,
            "autogenerate_plugins": [*AUTOGENERATE_PLUGINS, plugin.register()],
            "process_revision_directives": revision.process_directives,
        }
    context.configure(
        transaction_per_migration=True,
        compare_type=True,
        compare_server_default=True,
        include_schemas=False,
        **arguments,
    )
    return context.get_context()


def write_sql(options: Mapping[str, Any], settings: Settings) -> None:
    """Write SQL that does what the same command would do on a database.

    Args:
        options: As from `command_options`.
        settings: How to go about it.
    """
    configured = configure(
        options,
        dialect_name="postgresql",
        dialect_opts={"paramstyle": "named"},  # else each % is doubled
        literal_binds=True,
        as_sql=True,
        on_version_apply=lambda ctx, step, **_: history.record(ctx, step),
    )
    emit_begin = configured.impl.emit_begin

    def emit_begin_with_settings() -> None:
        emit_begin()
        configured.impl.static_output(locking.settings_of_transaction(settings.lock_timeout))

    # Alembic has no hook for the beginning of a transaction in a script.
    configured.impl.emit_begin = emit_begin_with_settings  # type: ignore[method-assign]
    context.run_migrations()


class SchemaChange:
    """An upgrade, a downgrade or a stamp of one database.

    Args:
        connection: The database. If the caller began a transaction, all happens in it and the caller commits.
        settings: How to go about it.
    """

    def __init__(self, connection: Connection, settings: Settings) -> None:
        self._connection = connection
        self._settings = settings
        self._options = command_options()
        self._plan_of_command: Callable[..., list[Step]] = self._options["fn"]
        self._of_caller = connection.in_transaction()
        self._steps: list[Step] = []
        self._current: Step | None = None
        self._attempt = 1
        self._started = 0.0

    def run(self) -> None:
        """Make the change.

        Raises:
            SchemaError: It was refused, or a revision failed; the revisions before it stand.
        """
        with (
            self._lock_connection() as lock_connection,
            locking.migration_lock(lock_connection, self._settings.lock_wait, self._report_waiting),
            locking.transaction_settings(
                self._connection, locking.settings_of_transaction(self._settings.lock_timeout)
            ),
        ):
            self._prepare()
            self._apply()

    @contextmanager
    def _lock_connection(self) -> Iterator[Connection]:
        if self._of_caller:
            yield self._connection
            return
        with database.connect(self._connection.engine) as second:
            yield second

    def _report_waiting(self, message: str) -> None:
        self._settings.report(Progress(Phase.WAITING, message))

    def _configure(self) -> MigrationContext:
        return configure(
            self._options,
            connection=self._connection,
            fn=self._remaining_steps,
            on_version_apply=self._record,
        )

    def _prepare(self) -> None:
        """Find out what is to be done and refuse what cannot be; then forget what was read."""
        migration_context = self._configure()
        preflight.refuse_unsuitable_server(preflight.inspect_server(self._connection))
        heads = () if migration_context.purge else migration_context.get_current_heads()
        revisions = [each.revision for each in context.script.walk_revisions()]
        preflight.refuse_several_revisions(heads, revisions)
        preflight.refuse_unknown_revision(heads, revisions)
        self._steps = self._plan(heads, migration_context)
        if any(isinstance(step, StampStep) and step.to_revisions for step in self._steps):
            preflight.refuse_unrecorded_stamp(self._connection)
        if all(isinstance(step, RevisionStep) and step.is_upgrade for step in self._steps):
            preflight.refuse_edited_revisions(self._connection, context.script)
            if self._steps:
                applied = [each for each in revisions if each <= max(heads, default="")]
                preflight.refuse_foreign_objects(self._connection, applied, max(revisions))
        if not self._of_caller:
            self._connection.rollback()

    def _plan(self, heads: tuple[str, ...], migration_context: MigrationContext) -> list[Step]:
        """Return the steps from the current revision to where the command wants to go."""
        destination = ", ".join(to_tuple(self._options["destination_rev"]))
        try:
            if not destination:  # of which Alembic asserts that it is never given
                raise CommandError("it has no name")
            return list(self._plan_of_command(heads, migration_context))
        except CommandError as error:
            current = ", ".join(migration_context.get_current_heads()) or "base"
            raise no_way(destination, error, current, context.script) from error

    def _remaining_steps(self, heads: tuple[str, ...], _: MigrationContext) -> Iterator[Step]:
        """Yield the steps not yet made. Alembic commits each before it asks for the next."""
        for step in dropwhile(lambda step: set(step.from_revisions) != set(heads), self._steps):
            version, name = describe(step)
            if step is not self._current:
                self._current, self._attempt = step, 1
            self._started = time.monotonic()
            self._settings.report(Progress(Phase.STARTED, f"{step}", version, name))
            yield step
            elapsed = self._elapsed_ms()
            self._settings.report(
                Progress(Phase.FINISHED, f"{version} {name} took {elapsed} ms", version, name, elapsed)
            )

    def _elapsed_ms(self) -> int:
        return round(1000 * (time.monotonic() - self._started))

    def _record(
        self, *, ctx: MigrationContext, step: MigrationInfo, heads: Collection[str], run_args: object
    ) -> None:
        history.record(ctx, step, self._elapsed_ms())

    def _apply(self) -> None:
        """Make the steps. Where a table is in use for too long, go on from the last one committed."""
        while True:
            try:
                context.run_migrations()
            except DBAPIError as error:
                if not self._of_caller:
                    self._connection.rollback()
                in_use = database.sqlstate(error) in TABLE_IN_USE
                if not in_use or self._of_caller or self._attempt >= self._settings.attempts:
                    raise self._explain(error, in_use=in_use) from error
                self._pause()
                self._configure()
            else:
                return

    def _pause(self) -> None:
        """Wait before another attempt, each time longer, and not as long as another process does."""
        pause = RETRY_PAUSE * 2**self._attempt * random.SystemRandom().uniform(0.5, 1.0)
        self._attempt += 1
        version, name = describe(self._current)
        message = f"{version} {name}: a table is in use, attempt {self._attempt} of {self._settings.attempts}"
        self._settings.report(Progress(Phase.RETRYING, message, version, name))
        time.sleep(min(pause, LONGEST_RETRY_PAUSE))

    def _explain(self, error: DBAPIError, *, in_use: bool) -> SchemaError:
        """Say which revision failed, and why."""
        version, name = describe(self._current)
        statement = error.statement or ""
        where = f"\nStatement: {' '.join(statement.split()):.200}"
        still_at = ", ".join(self._current.from_revisions) if self._current else ""
        if not in_use:
            return SchemaError(
                f"Revision {version} {name} failed: {database.server_message(error)}{where}",
                f"The database is still at {still_at or 'base'}.",
            )
        blockers = "" if self._of_caller else locking.describe_blockers(self._connection, statement)
        return LockNotObtainedError(
            f"Revision {version} {name} did not get a lock within {self._settings.lock_timeout}, "
            f"in {self._attempt} attempts.{where}{blockers}",
            "End what uses the table, or upgrade at a quieter time. "
            f"The database is still at {still_at or 'base'}.",
        )


def no_way(target: str, reason: Exception, current: str, scripts: ScriptDirectory) -> SchemaError:
    """Return what to tell about a revision that can't be reached.

    Args:
        target: Where to go.
        reason: Why that is impossible.
        current: Where the database is.
        scripts: The revisions that there are.
    """
    revisions = ", ".join(sorted(script.revision for script in scripts.walk_revisions()))
    return SchemaError(
        f"There is no way to revision {target!r}: {str(reason).rstrip('.')}.",
        f"The database is at {current}; the revisions are {revisions}.",
    )


def describe(step: Step | None) -> tuple[str, str]:
    """Return the number and the name of the revision that a step applies or takes back.

    Args:
        step: A step; None, or a stamp, has neither.
    """
    revision = getattr(step, "revision", None)
    return (revision.revision, history.revision_name(revision)) if revision else ("", "stamp")
