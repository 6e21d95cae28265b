"""``honua-schema demo``: from nothing to a running database with data in it, and what it answers."""

from __future__ import annotations

import shlex
import shutil
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import psycopg
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from honua_schema.database import resolve_url
from honua_schema.demo.load import has_data, load, read_mark
from honua_schema.demo.questions import QUESTIONS
from honua_schema.demo.world import SMALL, Volume, World
from honua_schema.embedded import EmbeddedServer, default_folder, embedded_programs
from honua_schema.environment import Phase
from honua_schema.errors import SchemaError, UsageError
from honua_schema.progress import progress
from honua_schema.runner import MigrationRunner

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from rich.console import Console, JustifyMethod
    from sqlalchemy import URL

    from honua_schema import environment

    Connection = psycopg.Connection[Any]

SEED = 20251029
SMALLEST_SCALE, LARGEST_SCALE = 0.01, 100.0
BYTES_AT_SCALE_1 = 6 * 1024**3  # with the write-ahead log

# A load writes much in a short time: fewer checkpoints, and room for the indexes.
SERVER_SETTINGS = {"max_wal_size": "4GB", "shared_buffers": "256MB"}

MOST_ROWS, MOST_COLUMNS, WIDEST_CELL = 10, 6, 36  # an id is that wide


def run_demo(
    folder: Path | None = None,
    *,
    scale: float | None = None,
    stop: bool = False,
    remove: bool = False,
    seed: int = SEED,
    url: str | URL | None = None,
    console: Console,
) -> None:
    """Start a server, upgrade its database, fill it, and show what it answers; or stop or remove the server.

    The server keeps running. Data that is there already stays, and is asked again.

    Args:
        folder: Folder of the embedded server. Defaults to ``default_folder()``.
        scale: How much data: 1 is six months of a hundred customers with 50,000 builds. None is a small demo
            with about a hundred builds.
        stop: Stop the server instead; the data stays.
        remove: Stop the server instead, and delete its data.
        seed: What the random numbers begin with.
        url: A database to use instead of an embedded server: an empty one, or one that holds a demo already.
        console: Where to print.

    Raises:
        UsageError: The scale is out of range, or arguments contradict each other.
        SchemaError: The folder can't be used or has too little room, the server does not start, the upgrade
            fails, or the database of ``url`` holds other data.
    """
    if scale is not None and not SMALLEST_SCALE <= scale <= LARGEST_SCALE:
        message = f"The scale {scale:g} is not between {SMALLEST_SCALE:g} and {LARGEST_SCALE:g}."
        raise UsageError(
            message, "1 is six months of a hundred customers; without a scale the demo is small."
        )
    show = Output(console)
    if url is not None:
        if folder or stop or remove:
            raise UsageError(
                "A database of your own has no folder here, and is not stopped or removed.",
                "Leave out --folder, --stop and --remove, or leave out --url.",
            )
        database, server = resolve_url(url), None
    else:
        server = EmbeddedServer(folder or default_folder(), settings=SERVER_SETTINGS)
        if stop or remove:
            end(server, show, remove=remove)
            if remove and folder is None:
                with suppress(OSError):  # it has the server of another major version
                    server.folder.parent.rmdir()
            return
        is_running = server.is_running()
        show.line(f"PostgreSQL {'is running' if is_running else 'starts'} in {server.folder}.")
        with show.progress("Starting"):
            server.start()
            server.create_database()
        database = server.url()

    upgrade(database, show)
    conninfo = libpq_uri(database)
    remedy = "name an empty database" if server is None else f"remove this: {demo_command(folder)} --remove"
    fill(conninfo, show, scale=scale, seed=seed, server=server, for_another_scale=remedy)
    ask(conninfo, show)
    if server is not None:
        tell_what_next(conninfo, show, folder=folder)


def end(server: EmbeddedServer, show: Output, *, remove: bool) -> None:
    """Stop a server, and perhaps delete its data.

    Args:
        server: The server.
        show: Where to print.
        remove: Whether to delete the data.
    """
    exists, was_running = server.folder.exists(), server.is_running()
    if remove:
        server.remove()
        show.line(
            f"Removed {server.folder} with all data." if exists else f"There is no {server.folder} to remove."
        )
    else:
        server.stop()
        done = "is stopped; its data stays" if was_running else "was not running: there is nothing to stop"
        show.line(f"PostgreSQL in {server.folder} {done}.")


def upgrade(database: URL, show: Output) -> None:
    """Bring a database to head, and print each revision.

    Args:
        database: The database.
        show: Where to print.

    Raises:
        SchemaError: A revision failed.
    """

    def report(progress: environment.Progress) -> None:
        if progress.phase is Phase.FINISHED:
            show.line(f"  {progress.version} {progress.name:<30}{progress.execution_time_ms:>6} ms")
        elif progress.phase is not Phase.STARTED:
            show.line(f"  {progress.message}")

    result = MigrationRunner(database, progress=report).apply_migrations()
    if not result.success:
        raise SchemaError("\n".join(result.errors))


def fill(
    conninfo: str,
    show: Output,
    *,
    scale: float | None,
    seed: int,
    server: EmbeddedServer | None,
    for_another_scale: str,
) -> None:
    """Load the demo's data into a database that is empty.

    Args:
        conninfo: The database, at head.
        show: Where to print.
        scale: How much data; None is the small demo.
        seed: What the random numbers begin with.
        server: The embedded server, whose data stays whatever it is; None for a database of the user's own.
        for_another_scale: What to do first, if the data that is there has another scale.

    Raises:
        SchemaError: A database of the user's own holds other data, or there is too little room.
    """
    with psycopg.connect(conninfo) as connection:
        mark, is_filled = read_mark(connection), has_data(connection)
        name = connection.info.dbname
    if (mark and mark.is_complete) or (server and is_filled and not mark):
        show.line("The data is already there.")
        if scale is not None and (mark is None or mark.scale != scale):
            show.line(f"It stays as it is. For data of another scale, first {for_another_scale}")
        return
    if is_filled and not mark:
        raise SchemaError(f"The database {name} holds data already.", "Name an empty database for the demo.")
    if mark:
        show.line("An earlier load was interrupted: it starts anew.")
    needed = (scale or 0) * BYTES_AT_SCALE_1
    if server and shutil.disk_usage(server.folder).free < needed:
        message = f"{server.folder} has too little room: scale {scale:g} takes about {needed / 1e9:.0f} GB."
        raise SchemaError(message, "Choose a smaller scale or another folder.")

    volume = SMALL if scale is None else Volume.of_scale(scale)
    world = World(seed=seed, anchor=datetime.now(UTC), volume=volume)
    amount = f"{volume.builds:,} builds and {volume.accesses:,} cache look-ups"
    show.line(f"Loading {amount} of {volume.customers:,} customers.")
    began = time.monotonic()
    with show.progress("Loading") as report:
        # The rest of the time is VACUUM's.
        rows = load(conninfo, world, scale=scale, report=lambda _table, _rows, done: report(0.85 * done))
    show.line(f"Loaded {rows:,} rows in {time.monotonic() - began:.1f} seconds.")


def ask(conninfo: str, show: Output) -> None:
    """Ask the documents' questions, and print the answers. Nothing is changed.

    Args:
        conninfo: The database.
        show: Where to print.
    """
    with psycopg.connect(conninfo, options="-c timezone=UTC") as connection:
        for question in QUESTIONS:
            with connection.transaction(force_rollback=True):  # a build that a worker was given goes back
                cursor = connection.execute(question.sql)
                columns = [column.name for column in cursor.description or ()]
                show.answer(question.title, columns, cursor.fetchall())


def tell_what_next(conninfo: str, show: Output, *, folder: Path | None) -> None:
    """Print where the database is and what can be done with it.

    Args:
        conninfo: The database.
        show: Where to print.
        folder: The folder that the user named.
    """
    uri = shlex.quote(conninfo)
    psql = shlex.quote(shutil.which("psql") or str(embedded_programs() / "psql"))
    demo = demo_command(folder)
    show.line("")
    show.line("The database is running. Its URI, also for DATABASE_URL:")
    show.line(f"  {conninfo}")
    show.line("What to try next:")
    for what, command in (
        ("Ask it yourself", f"{psql} {uri}"),
        ("See its revisions", f"{program()} status --url {uri}"),
        ("Ask all this again", demo),
        ("Stop it", f"{demo} --stop"),
        ("Delete it", f"{demo} --remove"),
    ):
        show.line(f"  {what:<20}{command}")


def libpq_uri(url: URL) -> str:
    """Return a URL as libpq reads it, to which a + is no space as it is to SQLAlchemy.

    Args:
        url: The URL.
    """
    before, mark, query = (
        url.set(drivername="postgresql").render_as_string(hide_password=False).partition("?")
    )
    return f"{before}{mark}{query.replace('+', '%20')}"


def demo_command(folder: Path | None) -> str:
    """Return the command that starts the demo of a folder.

    Args:
        folder: The folder that the user named: without it, the command would stop or remove another demo.
    """
    return f"{program()} demo --folder {shlex.quote(str(folder))}" if folder else f"{program()} demo"


def program() -> str:
    """Return how this program is called."""
    on_path = shutil.which("honua-schema")
    return "honua-schema" if on_path else f"{shlex.quote(sys.executable)} -m honua_schema"


class Output:
    """Prints for a person: with colours and lines on a terminal, as plain text elsewhere.

    Args:
        console: Where to print.
    """

    def __init__(self, console: Console) -> None:
        self._console = console

    def line(self, text: str) -> None:
        """Print a line as it is, however long.

        Args:
            text: The line.
        """
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def progress(self, what: str) -> AbstractContextManager[Callable[[float], None]]:
        """Show a progress bar on a terminal, and nothing elsewhere.

        Args:
            what: What goes on.
        """
        return progress(what, self._console)

    def answer(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Print the answer to a question.

        Args:
            title: What was asked.
            columns: Names of the columns.
            rows: Their values.
        """
        shown = rows[:MOST_ROWS]
        if len(rows) == 1 and len(columns) > MOST_COLUMNS:
            columns, shown = ["column", "value"], list(zip(columns, rows[0], strict=True))
        cells = [[_cell(value) for value in row] for row in shown]
        are_numbers = [
            all(value is None or isinstance(value, int | float | Decimal) for value in column)
            for column in zip(*shown, strict=True)
        ]
        self.line("")
        if self._console.is_terminal:
            self._draw(title, columns, cells, are_numbers)
        else:
            self._write(title, columns, cells, are_numbers)
        if len(rows) > MOST_ROWS:
            self.line(f"  and {len(rows) - MOST_ROWS} more rows")

    def _draw(
        self, title: str, columns: Sequence[str], cells: list[list[str]], are_numbers: list[bool]
    ) -> None:
        # Not as the table's own title, which would be broken to the width of a narrow table.
        self._console.print(Text(title, style="bold"))
        table = Table(box=SIMPLE_HEAD)
        for column, is_number in zip_longest(columns, are_numbers):
            justify: JustifyMethod = "right" if is_number else "left"
            header = Text(column.replace("_", " "))  # so that it may be broken into lines
            table.add_column(header, justify=justify)
        for row in cells:
            table.add_row(*(Text(cell, no_wrap=True, overflow="ellipsis") for cell in row))
        self._console.print(table)

    def _write(
        self, title: str, columns: Sequence[str], cells: list[list[str]], are_numbers: list[bool]
    ) -> None:
        widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
        rule = ["-" * width for width in widths]
        self.line(title)
        for row in ([*columns], rule, *cells):
            padded = (
                cell.rjust(width) if is_number else cell.ljust(width)
                for cell, width, is_number in zip_longest(row, widths, are_numbers)
            )
            self.line("  " + "  ".join(padded).rstrip())


def _cell(value: object) -> str:
    """Return a value in words that fit into a table."""
    match value:
        case None:
            text = ""
        case datetime():
            text = f"{value:%Y-%m-%d %H:%M}"
        case float():
            text = f"{value:.1f}"
        case list():
            text = ", ".join(map(str, value))
        case _:
            text = str(value)
    return text if len(text) <= WIDEST_CELL else text[: WIDEST_CELL - 1] + "…"
