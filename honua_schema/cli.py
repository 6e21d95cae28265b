"""The command line ``honua-schema``: each command is a few lines over the runner.

Start-up stays quick: what is heavy is imported by the command that needs it.
"""

from __future__ import annotations

import errno
import functools
import inspect
import json
import re
import sys
from dataclasses import asdict, dataclass, is_dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand

from honua_schema import __version__, streams
from honua_schema.progress import progress

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import URL

    from honua_schema.audit import Seal
    from honua_schema.environment import Progress
    from honua_schema.maintenance import LogPartition
    from honua_schema.runner import MigrationResult, MigrationRunner, Verification

FAILED, USAGE, PENDING_OR_DRIFTED = 1, 2, 3

app = typer.Typer(
    help="The PostgreSQL schema of the Honua Build Orchestrator.",
    epilog="Without options, the database is DATABASE_URL, else PG_HOST, PG_PORT, PG_DATABASE and PG_USER."
    "\n\nExample: honua-schema doctor",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Run the command line; an error that a person can put right is one message, without a traceback."""
    streams.make_lenient()
    try:
        app(prog_name="honua-schema")
    except SystemExit as ended:
        code = ended.code
    except Exception as error:
        message = expected_message(error)
        if message is None:
            raise
        complain(message)
        from honua_schema.errors import UsageError

        code = USAGE if isinstance(error, UsageError) else FAILED
    loss = streams.output_loss()
    if loss and loss.errno != errno.EPIPE:  # who reads no further, such as head, has seen enough
        complain(f"The output can't be written: {loss.strerror}.\nThe command went on to its end without it.")
        code = code or FAILED
    sys.exit(code)


def expected_message(error: Exception) -> str | None:
    """Return what to tell about an error, or None if it is a defect of this program.

    Args:
        error: What a command raised.
    """
    from alembic.util import CommandError
    from psycopg import Error
    from sqlalchemy.exc import DBAPIError

    from honua_schema.refusals import explain

    if isinstance(error, CommandError):
        return str(error)
    if isinstance(error, DBAPIError | Error):
        return str(explain(error))
    return None


def complain(message: str) -> None:
    """Print an error.

    Args:
        message: What is wrong, and what to do.
    """
    typer.secho("Error: ", fg=typer.colors.RED, bold=True, nl=False, err=True)
    typer.echo(message, err=True)


def refuse_usage(message: str) -> NoReturn:
    """End the program because it was called wrongly.

    Args:
        message: What is wrong, and what to do.
    """
    complain(message)
    raise typer.Exit(USAGE)


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something is changed; a program that calls this one has to say --yes.

    Args:
        question: What to ask.
        yes: Whether the answer was given on the command line.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        refuse_usage(f"{question}\nNobody is here to answer: add --yes.")
    if not typer.confirm(question):
        typer.echo("Nothing was changed.")
        raise typer.Exit(FAILED)


def print_json(value: Any) -> None:
    """Print dataclasses, and lists and dictionaries of them, as JSON.

    Args:
        value: What to print.
    """

    def plain(each: Any) -> Any:
        return asdict(each) if is_dataclass(each) and not isinstance(each, type) else str(each)

    typer.echo(json.dumps(value, default=plain, indent=2))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table on a terminal; elsewhere one line for each row, with tabs between the columns.

    On a terminal too narrow for the longest words, each value has a line of its own: nothing is ever cut, for
    a name with an ellipsis names nothing, and a number broken in two reads as another.

    Args:
        columns: Titles of the columns.
        rows: Their values; None is left empty.
    """
    cells = [["" if value is None else str(value) for value in row] for row in rows]
    if not sys.stdout.isatty():
        for row in cells:
            typer.echo("\t".join(row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    # With the lines between the columns, and the spaces beside them.
    widths = widths_without_broken_words([*zip(columns, *cells, strict=True)], console.width - 1, 3)
    if widths is None:
        margin = max(map(len, columns)) + 2
        for row in cells:
            typer.echo()
            for title, cell in zip(columns, row, strict=True):
                typer.echo(title.ljust(margin) + cell.replace("\n", f"\n{' ' * margin}"))
        return
    table = Table()
    for title, width in zip(columns, widths, strict=True):
        table.add_column(title, width=width, overflow="fold")
    for row in cells:
        table.add_row(*map(Text, row))
    console.print(table)


def widths_without_broken_words(columns: Sequence[Sequence[str]], room: int, beside: int) -> list[int] | None:
    """Return how wide the columns of a table may be, or None if it has no room for their longest words.

    Args:
        columns: What stands in each column.
        room: How wide the table may be.
        beside: What it takes for each column besides.
    """
    from rich.cells import cell_len

    widths = [max(cell_len(line) for cell in column for line in cell.split("\n")) for column in columns]
    least = [max(cell_len(word) for cell in column for word in cell.split()) for column in columns]
    excess = sum(widths) + beside * len(columns) - room
    for number in sorted(range(len(columns)), key=widths.__getitem__, reverse=True):
        taken = max(0, min(excess, widths[number] - least[number]))
        widths[number] -= taken
        excess -= taken
    return widths if excess <= 0 else None


def print_progress(progress: Progress) -> None:
    """Print how an upgrade goes on: what is done, and why it waits.

    Args:
        progress: What the runner reports.
    """
    name = f"{progress.version} {progress.name}".ljust(40)
    on_terminal = sys.stdout.isatty()
    match progress.phase:
        case "started" if on_terminal and progress.version:
            typer.echo(f"{name} ...", nl=False)
        case "finished" if progress.version:
            beginning = "\r" if on_terminal else ""
            typer.echo(f"{beginning}{name}{progress.execution_time_ms:>8} ms")
        case "waiting" | "retrying":
            beginning = "\n" if on_terminal else ""
            typer.echo(f"{beginning}{progress.message}", err=True)


@dataclass(frozen=True)
class Target:
    """The database that the options of a command name."""

    host: str | None = None
    port: int | None = None
    database: str | None = None
    user: str | None = None
    url: str | None = None
    embedded: bool = False
    folder: Path | None = None

    def runner(self, **options: Any) -> MigrationRunner:
        """Return a runner for this database.

        Args:
            options: Further arguments of `MigrationRunner`.
        """
        from honua_schema.runner import MigrationRunner

        return MigrationRunner(self.database_url(), **options)

    def database_url(self) -> URL:
        """Return the URL of this database, whose server is started first if it is an embedded one."""
        if not self.embedded:
            if self.folder:
                refuse_usage("--folder is the folder of an embedded server: add --embedded")
            if self.url and (self.host or self.port or self.database or self.user):
                refuse_usage(
                    "--url says where the database is: leave out --host, --port, --database and --user"
                )
            from honua_schema.database import resolve_url

            return resolve_url(
                self.url, host=self.host, port=self.port, database=self.database, user=self.user
            )
        if self.url or self.host or self.port or self.user:
            refuse_usage("--embedded is a server of its own: leave out --url, --host, --port and --user")
        from honua_schema.embedded import open_server

        server = open_server(self.folder)
        database = self.database or "honua"
        server.create_database(database)
        return server.url(database)


DATABASE_OPTIONS: dict[str, Any] = {
    "host": Annotated[str | None, typer.Option("--host", "-h", help="Server, or the folder of its socket.")],
    "port": Annotated[int | None, typer.Option("--port", "-p", min=1, max=65535, help="Port of the server.")],
    "database": Annotated[str | None, typer.Option("--database", "-d", help="Name of the database.")],
    "user": Annotated[str | None, typer.Option("--user", "-u", help="Role to connect as.")],
    "url": Annotated[str | None, typer.Option("--url", help="Database URL, instead of the above.")],
    "embedded": Annotated[
        bool, typer.Option("--embedded", help="Use an embedded PostgreSQL; start it if need be.")
    ],
    "folder": Annotated[Path | None, typer.Option("--folder", help="Folder of the embedded PostgreSQL.")],
}


def on_database(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that name a database; it receives them as its first argument, a `Target`.

    Args:
        command: The command.
    """
    signature = inspect.signature(command, eval_str=True)

    @functools.wraps(command)
    def with_target(**arguments: Any) -> None:
        target = Target(**{name: arguments.pop(name) for name in DATABASE_OPTIONS})
        command(target, **arguments)

    options = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=getattr(Target, name),
            annotation=annotation,
        )
        for name, annotation in DATABASE_OPTIONS.items()
    ]
    own = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in signature.parameters.values()
    ]
    with_target.__signature__ = signature.replace(parameters=[*own[1:], *options])  # type: ignore[attr-defined]
    return with_target


def duration(value: str) -> timedelta:
    """Read the value of an option that is a duration.

    Args:
        value: Such as 5s or 10min.

    Raises:
        typer.BadParameter: It is none.
    """
    from honua_schema.errors import SchemaError
    from honua_schema.locking import parse_duration

    try:
        return parse_duration(value, "The duration")
    except SchemaError as error:
        raise typer.BadParameter(str(error)) from None


Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Ignore = Annotated[
    list[str] | None,
    typer.Option(
        "--ignore",
        metavar="OBJECT",
        help="Leave out an object of somebody else, such as 'table invoices' or 'function invoice_*'.",
    ),
]
LockTimeout = Annotated[
    timedelta | None,
    typer.Option(
        parser=duration,
        envvar="HONUA_LOCK_TIMEOUT",
        show_default="5s",
        metavar="DURATION",
        help="How long a statement waits for a table that is in use; then it is tried again.",
    ),
]
LockWait = Annotated[
    timedelta | None,
    typer.Option(
        parser=duration,
        envvar="HONUA_LOCK_WAIT",
        show_default="10min",
        metavar="DURATION",
        help="How long to wait for another upgrade of the same database.",
    ),
]


@app.callback(invoke_without_command=True)
def program(
    *,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Keep the database of the Honua Build Orchestrator at the schema that its programs expect."""
    if version:
        typer.echo(f"honua-schema {__version__}")
        raise typer.Exit


@app.command(epilog="Example: honua-schema upgrade --lock-timeout 2s --yes")
@on_database
def upgrade(
    target: Target,
    revision: Annotated[str, typer.Argument(help="Where to go: a number, +1 or head.")] = "head",
    *,
    verify_only: Annotated[
        bool, typer.Option("--verify-only", "-v", help="Show what would be done, and do nothing.")
    ] = False,
    yes: Yes = False,
    lock_timeout: LockTimeout = None,
    lock_wait: LockWait = None,
) -> None:
    """Apply the revisions that the database does not have yet."""
    runner = target.runner(lock_timeout=lock_timeout, lock_wait=lock_wait, progress=print_progress)
    refuse_unknown_target(runner, revision)
    pending, status = runner.get_pending_migrations(revision), runner.get_status()
    current = status.current_version or "base"
    order = ["base", *(each.version for each in runner.get_available_migrations())]
    if revision in order[: order.index(current) if current in order else 0]:
        # Alembic says nothing, and who meant to go back would take that for done.
        typer.echo(f"Already past {revision}. To go back: honua-schema downgrade {revision}")
    if verify_only:
        print_status(runner, replace(status, pending=pending))
        return
    if pending:
        print_table(("Revision", "Name"), [(each.version, each.name) for each in pending])
        confirm(f"Upgrade {describe(runner.url)} from {current} to {revision}?", yes=yes)
    finish(runner, runner.apply_migrations(revision))


def refuse_unknown_target(runner: MigrationRunner, revision: str) -> None:
    """Refuse a revision that no database can be taken to.

    Args:
        runner: The database.
        revision: Where to go. What steps such as +1 lead to, the database says later.
    """
    from honua_schema import runner as runners

    if not re.fullmatch(r"heads|.*[+-]\d+", revision):
        runners.refuse_unknown_target(revision, runner.get_available_migrations())


class CommandWithSteps(TyperCommand):
    """A command whose argument may be a number of steps such as -1, which would be taken for an option."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the command line, with the steps behind the options.

        Args:
            ctx: What click knows about the command under way.
            args: The command line.
        """
        steps = [each for each in args if re.fullmatch(r"-\d+", each)]
        if steps and "--" not in args:
            args = [*(each for each in args if each not in steps), "--", *steps]
        return super().parse_args(ctx, args)


@app.command(cls=CommandWithSteps, epilog="Example: honua-schema downgrade 003 --yes")
@on_database
def downgrade(
    target: Target,
    revision: Annotated[str, typer.Argument(help="Where to go back to: a number, -1 or base.")],
    *,
    yes: Yes = False,
    lock_timeout: LockTimeout = None,
    lock_wait: LockWait = None,
) -> None:
    """Take revisions back. What they created is lost, with all data in it."""
    runner = target.runner(lock_timeout=lock_timeout, lock_wait=lock_wait, progress=print_progress)
    refuse_unknown_target(runner, revision)
    current = runner.get_current_version() or "base"
    question = f"Downgrade {describe(runner.url)} from {current} to {revision}?"
    confirm(f"What the revisions above {revision} created is lost, with all data in it.\n{question}", yes=yes)
    finish(runner, runner.rollback(revision))


@app.command(epilog="Example: honua-schema stamp 005 --yes")
@on_database
def stamp(
    target: Target,
    revision: Annotated[str, typer.Argument(help="Where the database is: a number, head or base.")],
    *,
    yes: Yes = False,
) -> None:
    """Record that the database is at a revision, without running any."""
    runner = target.runner(progress=print_progress)
    refuse_unknown_target(runner, revision)
    confirm(f"Record that {describe(runner.url)} is at {revision}, without running any revision?", yes=yes)
    finish(runner, runner.stamp(revision))


def finish(runner: MigrationRunner, result: MigrationResult) -> None:
    """Print what became of a change, and end with the right exit code.

    Args:
        runner: The database.
        result: What the runner returned.
    """
    if not result.success:
        complain("\n".join(result.errors))
        raise typer.Exit(FAILED)
    # On standard error if nobody reads the rest: an upgrade that a pipe was closed on is not half done.
    is_lost = streams.output_loss() is not None
    typer.echo(f"{describe(runner.url)} is at {runner.get_current_version() or 'base'}.", err=is_lost)


def describe(url: URL) -> str:
    """Return a database in words, without its password.

    Args:
        url: The database.
    """
    from honua_schema.database import describe_server

    return f"{url.database} on {describe_server(url)}"


@app.command(epilog="Example: honua-schema current --json")
@on_database
def current(target: Target, *, as_json: AsJson = False) -> None:
    """Print the revision of the database."""
    runner = target.runner()
    version, head = runner.get_current_version(), runner.get_available_migrations()[-1].version
    if as_json:
        print_json({"current": version, "head": head})
    else:
        typer.echo(f"{version or 'base'}{' (head)' if version == head else ''}")


@app.command(epilog="Example: honua-schema history --json")
@on_database
def history(target: Target, *, as_json: AsJson = False) -> None:
    """Print which revision was applied, when, by whom and how long it took."""
    applied = target.runner().get_applied_migrations()
    if as_json:
        print_json(applied)
        return
    print_table(
        ("Revision", "Name", "Applied at", "Applied by", "Took ms", "Checksum"),
        [
            (
                each.version,
                each.name,
                each.applied_at.isoformat(timespec="seconds"),
                each.applied_by,
                each.execution_time_ms,
                each.checksum,
            )
            for each in applied
        ],
    )


@app.command(epilog="Example: honua-schema status --json")
@on_database
def status(target: Target, *, as_json: AsJson = False) -> None:
    """Print which revisions are applied, and which are not."""
    runner = target.runner()
    if as_json:
        print_json(runner.get_status())
    else:
        print_status(runner, runner.get_status())


def print_status(runner: MigrationRunner, status: Verification) -> None:
    """Print each revision with its state, and where the database is.

    Args:
        runner: The database.
        status: What the runner found.
    """
    states: dict[str, tuple[str, str]] = {each.version: (each.name, "applied") for each in status.applied}
    for state, revisions in (
        ("pending", status.pending),
        ("edited", status.edited),
        ("not recorded", status.unrecorded),
    ):
        states |= {each.version: (each.name, state) for each in revisions}
    states |= {version: (states.get(version, ("", ""))[0], "unknown") for version in status.unknown}
    rows = [(version, name, state) for version, (name, state) in sorted(states.items())]
    print_table(("Revision", "Name", "State"), rows)
    typer.echo(f"{describe(runner.url)} is at {status.current_version or 'base'}.")


@app.command(epilog="Example: honua-schema verify && echo good")
@on_database
def verify(target: Target, *, ignore: Ignore = None, as_json: AsJson = False) -> None:
    """Compare the database with this package; exit with 3 if anything is pending, edited or different."""
    runner = target.runner()
    with progress("Comparing"):
        found = runner.verify(ignore or ())
    if as_json:
        print_json({**asdict(found), "is_good": found.is_good})
    else:
        print_status(runner, found)
        for difference in found.differences:
            typer.echo(f"different: {difference}")
        typer.echo("All is as it should be." if found.is_good else "Not all is as it should be.")
    raise typer.Exit(0 if found.is_good else PENDING_OR_DRIFTED)


@app.command(epilog="Example: honua-schema check")
@on_database
def check(target: Target, *, ignore: Ignore = None, as_json: AsJson = False) -> None:
    """Compare everything in the database with what is declared; exit with 3 if anything differs."""
    runner = target.runner()
    if pending := runner.get_status().pending:
        complain(f"Pending: {', '.join(each.version for each in pending)}. First run: honua-schema upgrade")
        raise typer.Exit(PENDING_OR_DRIFTED)
    with progress("Comparing"):
        differences = runner.get_differences(ignore or ())
    if as_json:
        print_json(differences)
    else:
        typer.echo("\n".join(map(str, differences)) or "All is as declared.")
    raise typer.Exit(PENDING_OR_DRIFTED if differences else 0)


@app.command(epilog="Example: honua-schema sql | psql --set ON_ERROR_STOP=1")
def sql(
    revision: Annotated[str, typer.Argument(help="Where to go: a number, head or base.")] = "head",
    start: Annotated[str, typer.Option("--from", help="Where the database is: a number or base.")] = "base",
) -> None:
    """Print the SQL of an upgrade or a downgrade, for a database that only psql may touch."""
    from honua_schema.runner import MigrationRunner

    typer.echo(MigrationRunner("postgresql://").sql(revision, start=start))


@app.command(epilog="Example: honua-schema demo --folder ~/honua-demo")
def demo(
    *,
    folder: Annotated[Path | None, typer.Option(help="Folder of the embedded PostgreSQL.")] = None,
    url: Annotated[str | None, typer.Option(help="A database to use instead of an embedded one.")] = None,
    scale: Annotated[
        float | None, typer.Option(help="How much data; 1 is 50,000 builds. Without it, about a hundred.")
    ] = None,
    stop: Annotated[bool, typer.Option("--stop", help="Stop the server; the data stays.")] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Stop the server and delete its data.")] = False,
) -> None:
    """Start an embedded PostgreSQL with realistic data, and show what the schema answers."""
    from rich.console import Console

    from honua_schema.demo.command import run_demo

    run_demo(folder, url=url, scale=scale, stop=stop, remove=remove, console=Console())


maintenance_app = typer.Typer(
    no_args_is_help=True,
    help="Keep the database in order: see what is due, and do it.",
    epilog="Example: honua-schema maintenance run",
)
app.add_typer(maintenance_app, name="maintenance")


@maintenance_app.command("run", epilog="Example: honua-schema maintenance run timeouts admission")
@on_database
def maintenance_run(
    target: Target,
    tasks: Annotated[
        list[str] | None,
        typer.Argument(help="Tasks or intervals, as `maintenance list` names them."),
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Do what is due, in small batches; exit with 1 if a task failed. Safe on several machines at once."""
    from honua_schema import schedule
    from honua_schema.database import create_engine

    chosen = schedule.select_tasks(tasks or ())
    outcomes = []
    under_way = schedule.run(create_engine(target.database_url()), chosen)
    for task in chosen:
        with progress(task.purpose):
            outcome = next(under_way)
        outcomes.append(outcome)
        if not as_json:
            typer.echo(
                f"{outcome.task:<15}{outcome.error or outcome.status:<12}{outcome.changed:>8}"
                f"{outcome.elapsed_ms:>8} ms"
            )
    if as_json:
        print_json(outcomes)
    else:
        for remedy in dict.fromkeys(outcome.remedy for outcome in outcomes if outcome.remedy):
            typer.echo(remedy, err=True)
    raise typer.Exit(FAILED if any(outcome.status == "failed" for outcome in outcomes) else 0)


@maintenance_app.command("list", epilog="Example: honua-schema maintenance list --json")
def maintenance_list(*, as_json: AsJson = False) -> None:
    """Print the tasks, and how often each should run."""
    from honua_schema.schedule import TASKS

    rows = [(task.name, task.interval, task.cron, task.purpose) for task in TASKS]
    if as_json:
        print_json([dict(zip(("name", "interval", "cron", "purpose"), row, strict=True)) for row in rows])
    else:
        print_table(("Task", "How often", "Cron", "What it does"), rows)


@app.command(epilog="Example: honua-schema top --interval 5s")
@on_database
def top(
    target: Target,
    *,
    interval: Annotated[
        timedelta,
        typer.Option(
            parser=duration, metavar="DURATION", show_default="2s", help="How long to wait between two looks."
        ),
    ] = timedelta(seconds=2),
    once: Annotated[bool, typer.Option("--once", help="Print it once and end.")] = False,
) -> None:
    """Watch the build queue: what waits, who works, what ended; printed once where there is no terminal."""
    from rich.console import Console

    from honua_schema.database import create_engine
    from honua_schema.top import show_top

    if interval < timedelta(seconds=0.1):
        refuse_usage("The interval must be at least 100ms.")
    # A server that is cut off is given up within seconds, so that it can be connected to again.
    engine = create_engine(target.database_url().update_query_dict({"tcp_user_timeout": "10000"}))
    width = None if sys.stdout.isatty() else 1000  # as wide as it gets, for nothing to be cut
    show_top(engine, Console(highlight=False, width=width), interval=interval, once=once)


@app.command(epilog="Example: honua-schema doctor --json")
@on_database
def doctor(target: Target, *, as_json: AsJson = False) -> None:
    """Look for what would stop an upgrade or hurt later; exit with 1 if there is a problem."""
    from honua_schema.doctor import Level, examine

    with progress("Looking"):
        findings = examine(target.runner())
    if as_json:
        print_json(findings)
    else:
        separator = "\n" if sys.stdout.isatty() else "\t"
        rows = [
            (each.level, each.subject, separator.join(filter(None, (each.message, each.remedy))))
            for each in findings
        ]
        print_table(("State", "About", "Found, and what to do"), rows)
    raise typer.Exit(FAILED if any(each.level is Level.PROBLEM for each in findings) else 0)


@app.command(epilog="Example: honua-schema roles --json")
@on_database
def roles(target: Target, *, as_json: AsJson = False) -> None:
    """Print what each role may do with which table, view, sequence and function."""
    from honua_schema.roles import granted

    with target.runner().connect() as connection:
        grants = granted(connection)
    if as_json:
        print_json(grants)
    else:
        print_table(
            ("Role", "Kind", "Object", "May"),
            [(each.role, each.kind, each.name, each.verbs) for each in grants],
        )


audit_app = typer.Typer(
    no_args_is_help=True,
    help="Seal the audit log, and see whether it was tampered with.",
    epilog="Example: honua-schema audit verify",
)
app.add_typer(audit_app, name="audit")


@audit_app.command("seal", epilog="Example: honua-schema audit seal >> seals-kept-elsewhere.txt")
@on_database
def audit_seal(target: Target) -> None:
    """Seal what was recorded since the last seal, and print the new seals: keep the last one elsewhere."""
    from honua_schema.audit import seal

    with target.runner().connect() as connection, progress("Sealing"):
        seals = seal(connection)
        connection.commit()
    print_seals(seals)


@audit_app.command("verify", epilog="Example: honua-schema audit verify && echo good")
@on_database
def audit_verify(target: Target, *, as_json: AsJson = False) -> None:
    """Compare the audit log with its seals; exit with 1 if it was tampered with."""
    from honua_schema.audit import verify

    with target.runner().connect() as connection, progress("Comparing"):
        seals = verify(connection)
    if as_json:
        print_json(seals)
    else:
        print_seals(seals)
    raise typer.Exit(FAILED if any(each.is_broken for each in seals) else 0)


def print_seals(seals: Sequence[Seal]) -> None:
    """Print seals over the audit log.

    Args:
        seals: The seals.
    """
    print_table(
        ("After record", "Up to", "Month", "Records", "SHA-256", "State"),
        [(each.after_id, each.last_id, each.month, each.records, each.sha256, each.state) for each in seals],
    )


@app.command(epilog="Example: honua-schema quotas --json")
@on_database
def quotas(
    target: Target,
    customer_id: Annotated[str | None, typer.Argument(help="Only this customer; else all.")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Print how much of its licence each customer uses: builds this month, running builds, registries."""
    from honua_schema.licenses import get_all_quota_usage

    with target.runner().connect() as connection, progress("Counting"):
        usage = get_all_quota_usage(connection, customer_id)
    if as_json:
        print_json([{"customer_id": customer, **asdict(each)} for customer, each in usage.items()])
        return

    def limit(value: object) -> object:
        return "unlimited" if value is None else value

    print_table(
        ("Customer", "Builds", "Limit", "Remaining", "Used %", "Running", "Limit", "Registries", "Limit"),
        [
            (
                customer,
                each.builds_this_month,
                limit(each.max_builds_per_month),
                limit(each.remaining_builds),
                each.quota_utilization_percent,
                each.current_concurrent_builds,
                limit(each.max_concurrent_builds),
                each.active_registries,
                limit(each.max_registries),
            )
            for customer, each in usage.items()
        ],
    )


@app.command(epilog="Example: honua-schema partitions --json")
@on_database
def partitions(target: Target, *, as_json: AsJson = False) -> None:
    """Print the monthly partitions of the log tables, and whether rows lie in the default ones."""
    from honua_schema.maintenance import get_log_partitions

    with target.runner().connect() as connection:
        found = get_log_partitions(connection)
    if as_json:
        print_json(found)
        return

    def default(each: LogPartition) -> str:
        if each.month:
            return ""
        return {True: "holds rows", False: "empty", None: "not readable"}[each.has_rows]

    print_table(
        ("Table", "Partition", "Month", "Rows, about", "On disk", "Default partition"),
        [
            (each.table_name, each.partition_name, each.month, each.estimated_rows, each.size, default(each))
            for each in found
        ],
    )


@app.command("rotate-keys", epilog="Example: honua-schema rotate-keys --key-file honua.keys --yes")
@on_database
def rotate_keys(
    target: Target,
    *,
    key_file: Annotated[
        Path | None, typer.Option(help="File with the keys, the new one first; else HONUA_ENCRYPTION_KEYS.")
    ] = None,
    yes: Yes = False,
) -> None:
    """Encrypt with the new key what old keys have encrypted; when interrupted, run it again."""
    from honua_schema.crypto import Keyring, rotate_keys
    from honua_schema.database import create_engine

    keyring = Keyring.from_file(key_file) if key_file else Keyring.from_environment()
    url = target.database_url()
    confirm(f"Encrypt all secrets of {describe(url)} with key {keyring.current}?", yes=yes)
    with progress("Encrypting") as report:
        rotation = rotate_keys(create_engine(url), keyring, report=report)
    typer.echo(f"{rotation.rotated} rows are now encrypted with {keyring.current}.")
    if rotation.failed:
        complain("\n".join(rotation.failed))
        raise typer.Exit(FAILED)
