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
from alembic.util import CommandError
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from honua_schema import database, history, locking, preflight
from honua_schema.errors import LockNotObtainedError, SchemaError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from alembic.operations import MigrationScript
    from alembic.runtime.migration import MigrationContext, MigrationInfo, RevisionStep, StampStep
    from alembic.script import ScriptDirectory

    Step = RevisionStep | StampStep

LOCK_NOT_AVAILABLE = "55P03"
RETRY_PAUSE = 0.5  # seconds, doubled at each attempt

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

    The database is the connection or engine in ``config.attributes["connection"]``, else the URL of ``-x url=...`` or
    ``config.attributes["url"]``, else what the environment says. ``lock_timeout`` and ``lock_wait`` may be given the
    same ways, or as HONUA_LOCK_TIMEOUT and HONUA_LOCK_WAIT.

    Raises:
        SchemaError: Something that a person has to put right; the database is as the last whole revision left it.
    """
    options = command_options()
    if context.is_offline_mode() or is_plain_revision(options):
        _run_offline(options, settings())
        return
    with connection() as connected:
        if "destination_rev" in options:
            SchemaChange(connected, settings()).run()
        else:
            configure(options, connection=connected)
            with translated_errors("The database cannot be read"):
                context.run_migrations()


def command_options() -> Mapping[str, Any]:
    """Return what the Alembic command under way has asked for: where to go, whether to compare with the models."""
    # Alembic shows these only after configure(), and what to configure depends on them.
    options: Mapping[str, Any] = vars(context)["_proxy"].context_opts
    return options


def is_plain_revision(options: Mapping[str, Any]) -> bool:
    """Return whether the command is `alembic revision` without ``--autogenerate``, which needs no database.

    Args:
        options: As from `command_options`.
    """
    return "revision_context" in options and not options["revision_context"].command_args["autogenerate"]


def settings() -> Settings:
    """Return the settings for the command under way."""
    given = context.config.attributes
    chosen = {**os.environ, **{f"HONUA_{name.upper()}": value for name, value in [*given.items(), *_x_arguments().items()]}}
    default = Settings()
    return Settings(
        lock_timeout=locking.parse_duration(chosen.get("HONUA_LOCK_TIMEOUT") or default.lock_timeout, "lock_timeout"),
        lock_wait=locking.parse_duration(chosen.get("HONUA_LOCK_WAIT") or default.lock_wait, "lock_wait"),
        attempts=given.get("attempts", default.attempts),
        report=given.get("report", default.report),
    )


def _x_arguments() -> dict[str, str]:
    return context.get_x_argument(as_dictionary=True)


@contextmanager
def connection() -> Iterator[Connection]:
    """Open the connection for the command under way, or use the one that the caller has passed in."""
    given = context.config.attributes.get("connection")
    if isinstance(given, Connection):
        if locking.is_autocommit(given):
            raise SchemaError(
                "The connection is in autocommit mode, in which a revision that fails stays behind half done.",
                "Pass a connection without AUTOCOMMIT, or an engine.",
            )
        yield given
        return
    url = _x_arguments().get("url") or context.config.attributes.get("url")
    engine = given if isinstance(given, Engine) else database.create_engine(url)
    with database.connect(engine) as opened:
        yield opened.execution_options(isolation_level="READ COMMITTED")


def configure(options: Mapping[str, Any], **arguments: Any) -> MigrationContext:
    """Configure Alembic.

    Args:
        options: As from `command_options`.
        arguments: What differs between online and offline.
    """
    if "revision_context" in options:
        # Only a comparison needs the models.
        from honua_schema.models import Base

        arguments["target_metadata"] = Base.metadata
    context.configure(
        transaction_per_migration=True,
        compare_type=True,
        compare_server_default=True,
        include_schemas=False,
        autogenerate_plugins=["alembic.autogenerate.*", "alembic.ext.checkconstraint_byname"],
        process_revision_directives=number_revision,
        **arguments,
    )
    return context.get_context()


def number_revision(migration_context: MigrationContext, _: object, directives: list[MigrationScript]) -> None:
    """Give a new revision the next number, unless ``--rev-id`` gives one.

    Args:
        migration_context: The context of the command.
        directives: The new revision, as Alembic drafts it.
    """
    if not migration_context.opts["revision_context"].command_args["rev_id"]:
        numbers = [int(script.revision) for script in context.script.walk_revisions() if script.revision.isdigit()]
        directives[0].rev_id = f"{max(numbers, default=0) + 1:03}"


def _run_offline(options: Mapping[str, Any], settings: Settings) -> None:
    """Write SQL that behaves as the same command would on a database."""
    configured = configure(
        options,
        dialect_name="postgresql",
        dialect_opts={"paramstyle": "named"},  # else each % is doubled
        literal_binds=True,
        as_sql=True,
        on_version_apply=lambda ctx, step, **_: history.record(ctx, step, None),
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
            locking.transaction_settings(self._connection, self._settings.lock_timeout),
        ):
            self._prepare()
            self._apply()

    @contextmanager
    def _lock_connection(self) -> Iterator[Connection]:
        if self._of_caller:
            yield self._connection
            return
        with database.connect(self._connection.engine) as second:
            yield second.execution_options(isolation_level="READ COMMITTED")

    def _report_waiting(self, message: str) -> None:
        self._settings.report(Progress(Phase.WAITING, message))

    def _configure(self) -> MigrationContext:
        return configure(self._options, connection=self._connection, fn=self._remaining_steps, on_version_apply=self._record)

    def _prepare(self) -> None:
        """Find out what is to be done and refuse what cannot be; then forget what was read."""
        migration_context = self._configure()
        with translated_errors("The state of the database cannot be read"):
            preflight.refuse_unsuitable_server(preflight.inspect_server(self._connection))
            heads = () if migration_context.purge else migration_context.get_current_heads()
            preflight.refuse_unknown_revision(heads, context.script)
            self._steps = self._plan(heads, migration_context)
            if all(step.is_upgrade and not step.info.is_stamp for step in self._steps):
                preflight.refuse_edited_revisions(self._connection, context.script)
                if not heads:
                    preflight.refuse_foreign_tables(self._connection)
        if not self._of_caller:
            self._connection.rollback()

    def _plan(self, heads: tuple[str, ...], migration_context: MigrationContext) -> list[Step]:
        """Return the steps from the current revision to where the command wants to go."""
        try:
            return list(self._plan_of_command(heads, migration_context))
        except CommandError as error:
            revisions = ", ".join(script.revision for script in reversed(list(context.script.walk_revisions())))
            raise SchemaError(
                f"{error}.".replace("..", "."),
                f"The database is at {', '.join(heads) or 'base'}; the revisions are {revisions}.",
            ) from error

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
            self._settings.report(Progress(Phase.FINISHED, f"{version} {name} took {elapsed} ms", version, name, elapsed))

    def _elapsed_ms(self) -> int:
        return round(1000 * (time.monotonic() - self._started))

    def _record(self, *, ctx: MigrationContext, step: MigrationInfo, heads: Collection[str], run_args: object) -> None:
        history.record(ctx, step, self._elapsed_ms())

    def _apply(self) -> None:
        """Make the steps, and make them again from the last one committed when a table was in use for too long."""
        while True:
            try:
                context.run_migrations()
            except DBAPIError as error:
                if not self._of_caller:
                    self._connection.rollback()
                in_use = database.sqlstate(error) == LOCK_NOT_AVAILABLE
                if not in_use or self._of_caller or self._attempt >= self._settings.attempts:
                    raise self._explain(error, in_use=in_use) from error
                self._pause_before_retry()
                self._configure()
            else:
                return

    def _pause_before_retry(self) -> None:
        """Wait for a while that grows, and that differs between processes, so that they don't meet again."""
        pause = random.uniform(0.5, 1.0) * min(2.0**self._attempt, 30.0) * RETRY_PAUSE
        self._attempt += 1
        version, name = describe(self._current)
        message = f"{version} {name}: a table is in use; attempt {self._attempt} of {self._settings.attempts} follows"
        self._settings.report(Progress(Phase.RETRYING, message, version, name))
        time.sleep(pause)

    def _explain(self, error: DBAPIError, *, in_use: bool) -> SchemaError:
        """Say which revision failed, and why."""
        version, name = describe(self._current)
        statement = " ".join((error.statement or "").split())[:200]
        if in_use:
            blockers = "" if self._of_caller else locking.describe_blockers(self._connection, error.statement or "")
            return LockNotObtainedError(
                f"Revision {version} {name} did not get a lock within {self._settings.lock_timeout.total_seconds():g} s, "
                f"in {self._attempt} attempts. It waited in: {statement}{blockers}",
                "End what uses the table, or upgrade when less goes on. The database is unchanged since the last whole revision.",
            )
        return SchemaError(
            f"Revision {version} {name} failed: {database.server_message(error)}\nStatement: {statement}",
            "Nothing of this revision was kept; the revisions before it stand.",
        )


def describe(step: Step | None) -> tuple[str, str]:
    """Return the number and the name of the revision that a step applies or takes back.

    Args:
        step: A step; None, or a stamp, has neither.
    """
    revision = getattr(step, "revision", None)
    return (revision.revision, history.revision_name(revision)) if revision else ("", "stamp")


@contextmanager
def translated_errors(what: str) -> Iterator[None]:
    """Report an error of the server as one message.

    Args:
        what: What failed.
    """
    try:
        yield
    except DBAPIError as error:
        raise SchemaError(f"{what}: {database.server_message(error)}") from error
