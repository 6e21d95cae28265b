"""``honua-schema top``: the build queue as it is now, on a terminal that is drawn again and again."""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from honua_schema import database, monitor, refusals, roles, streams
from honua_schema.errors import SchemaError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console, RenderableType
    from sqlalchemy import Connection, Engine, RowMapping

QUERIES = {
    "queue": monitor.QUEUE.sql,
    "oldest": monitor.OLDEST,
    "ended": monitor.ENDED.sql,
    "wait": monitor.WAIT.sql,
    "cache": monitor.CACHE.sql,
    "running": monitor.RUNNING.sql,
    "held": monitor.HELD,
}
STATES = ("ready", "waiting", "delayed", "building")
WIDE = 100  # columns from which tables stand side by side
GLANCE = 0.1  # seconds between looks at the keyboard and at the size of the terminal
PATIENCE = 3  # seconds that an answer may take
STATEMENT_TIMEOUT = 10_000  # milliseconds


@dataclass(frozen=True)
class Snapshot:
    """What the database said.

    Attributes:
        at: When it was asked, in UTC.
        rows: The rows of each of ``QUERIES``.
    """

    at: datetime
    rows: dict[str, Sequence[RowMapping]]

    def one(self, name: str) -> RowMapping:
        """Return the row of a query that always has one.

        Args:
            name: The query.
        """
        return self.rows[name][0]


def show_top(engine: Engine, console: Console, *, interval: timedelta, once: bool = False) -> None:
    """Show the queue until somebody presses q or Ctrl-C; once where there is no terminal.

    A connection that breaks later is reported on the screen, and tried again.

    Args:
        engine: The database, as somebody who may see all builds: a member of honua_readonly will do.
        console: Where to draw.
        interval: How long to wait before asking again.
        once: Whether to draw only once, even on a terminal.

    Raises:
        SchemaError: The database can't be asked the first time, or hides builds from this role.
    """
    with database.connect(engine) as connection:
        first = read(connection)
    title = f"{engine.url.database} on {database.describe_server(engine.url)}"
    if once or not console.is_terminal or console.is_dumb_terminal:
        console.print(draw(first, title, width=console.width))
        return
    reader = Reader(engine, first, interval)
    title += f"   every {interval.total_seconds():g} s   q leaves"
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the terminal is put in order first
    with suppress(KeyboardInterrupt), _keyboard() as keyboard:
        reader.start()
        with Live(console=console, screen=True, auto_refresh=False) as live:
            drawn: object = None
            while not (streams.output_loss() or _is_pressed("q", keyboard)):
                state = (reader.snapshot, reader.trouble, console.size)
                if state != drawn:
                    frame = draw(reader.snapshot, title, width=console.width, trouble=reader.trouble)
                    live.update(frame, refresh=True)
                    drawn = state


class Reader(threading.Thread):
    """Asks the database again and again, apart from the screen: q works while a server hangs.

    Args:
        engine: The database.
        first: What it said first.
        interval: How long to wait before asking again.
    """

    def __init__(self, engine: Engine, first: Snapshot, interval: timedelta) -> None:
        super().__init__(daemon=True)
        self.snapshot = first
        self._refusal: str | None = None
        self._engine = engine
        self._interval = interval.total_seconds()

    @property
    def trouble(self) -> str | None:
        """Why there is nothing newer; None if all is well."""
        silence = (datetime.now(UTC) - self.snapshot.at).total_seconds()
        if self._refusal is None and silence > self._interval + PATIENCE:
            return f"PostgreSQL has not answered for {age(silence)}."
        return self._refusal

    def run(self) -> None:
        """Ask until the program ends."""
        while True:
            time.sleep(self._interval)
            try:
                with database.connect(self._engine) as connection:
                    while True:
                        self.snapshot, self._refusal = read(connection), None
                        time.sleep(self._interval)
            except SchemaError as error:
                self._refusal = error.message
            except SQLAlchemyError as error:  # raised in giving up a connection that is lost
                self._refusal = database.server_message(error)


def read(connection: Connection) -> Snapshot:
    """Ask the database, in one short transaction that sees one state of it.

    Args:
        connection: The database.

    Raises:
        SchemaError: The connection broke, there is no schema, or the role may not see all builds.
    """
    try:
        with connection.begin():
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            connection.exec_driver_sql(f"SET LOCAL statement_timeout = {STATEMENT_TIMEOUT}")
            roles.refuse_hidden_rows(connection, "build_queue", "builds")
            return Snapshot(
                datetime.now(UTC),
                {name: connection.exec_driver_sql(query).mappings().all() for name, query in QUERIES.items()},
            )
    except DBAPIError as error:
        lost = "The connection is lost" if error.connection_invalidated else "PostgreSQL refused"
        message = f"{lost}: {database.server_message(error)}"
        remedy = refusals.remedy(error, "a member of honua_readonly")
        raise SchemaError(message, remedy or "Try again later.") from error


@contextmanager
def _keyboard() -> Iterator[int | None]:
    """Have keys read as they are pressed, unseen; None where there is no keyboard."""
    if not sys.stdin.isatty():
        yield None
        return
    import termios
    import tty

    keyboard = sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)
    tty.setcbreak(keyboard)
    try:
        yield keyboard
    finally:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)


def _is_pressed(key: str, keyboard: int | None) -> bool:
    """Wait a moment for a key."""
    if keyboard is None:
        time.sleep(GLANCE)
        return False
    ready, _, _ = select.select([keyboard], [], [], GLANCE)
    if not ready:
        return False
    pressed = os.read(keyboard, 100)
    return not pressed or key.encode() in pressed  # nothing: the terminal is gone


def draw(snapshot: Snapshot, title: str, width: int, trouble: str | None = None) -> RenderableType:
    """Return a frame. What matters most stands at the top, for a small terminal shows just that.

    Args:
        snapshot: What the database said.
        title: What to write at the top.
        width: Columns of the terminal.
        trouble: Why there is nothing newer, if so.
    """
    parts: list[RenderableType] = [
        Text.assemble((f"{snapshot.at:%Y-%m-%d %H:%M:%S} UTC", "bold"), f"   {title}", no_wrap=True)
    ]
    if trouble:
        parts.append(Text(f"{trouble} Trying again; what follows is old.", style="bold red"))
    parts += [_queue(snapshot, width), _oldest(snapshot)]
    ended, numbers = _ended(snapshot), _numbers(snapshot)
    if width >= WIDE:
        beside = Table.grid(padding=(0, 4))
        beside.add_row(ended, numbers)
        parts += ["", beside]
    else:
        parts += ["", ended, numbers]
    parts += ["", _held(snapshot, is_wide=width >= WIDE)]
    return Group(*parts)


def _table(*columns: str, left: int = 1) -> Table:
    """Return a table without lines whose columns are numbers, except the first ones."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        justify: Any = "left" if number < left else "right"
        table.add_column(column, justify=justify, no_wrap=True, overflow="ellipsis")
    return table


def _queue(snapshot: Snapshot, width: int) -> Table:
    builds = {(row["state"], row["priority"]): row for row in snapshot.rows["queue"]}
    priorities = [each for each in range(10, 0, -1) if any(builds[state, each]["builds"] for state in STATES)]
    del priorities[max(0, (width - 30) // 6) :]  # a narrow terminal shows the totals, and what goes first
    table = _table("Queue", "Builds", "Oldest", *(f"P{each}" for each in priorities))
    for state in STATES:
        rows = [builds[state, each] for each in range(1, 11) if builds[state, each]["builds"]]
        oldest = max((row["oldest_seconds"] for row in rows), default=None)
        table.add_row(
            state,
            f"{sum(row['builds'] for row in rows):,}",
            f"in {age(-oldest)}" if oldest is not None and oldest < 0 else age(oldest),
            *(f"{count:,}" if (count := builds[state, each]["builds"]) else "" for each in priorities),
        )
    return table


def _oldest(snapshot: Snapshot) -> Text:
    for row in snapshot.rows["oldest"]:
        return Text(
            f"Waits longest: {row['id']} of {row['customer_id']}, priority {row['priority']}, "
            f"{row['architecture']}, {age(row['seconds'])}",
            no_wrap=True,
            overflow="ellipsis",
        )
    return Text("No build can be claimed.")


def _ended(snapshot: Snapshot) -> Table:
    table = _table("Ended in the last", "1 min", "5 min", "15 min")
    order = ("success", "failed", "timeout", "cancelled")
    for row in sorted(snapshot.rows["ended"], key=lambda row: order.index(row["status"])):
        table.add_row(row["status"], *(f"{row[each]:,}" for each in ("last_1m", "last_5m", "last_15m")))
    totals = [sum(row[each] for row in snapshot.rows["ended"]) for each in ("last_1m", "last_5m", "last_15m")]
    rates = [total / minutes for total, minutes in zip(totals, (1, 5, 15), strict=True)]
    table.add_row("a minute", *(f"{rate:,.1f}" for rate in rates))
    return table


def _numbers(snapshot: Snapshot) -> Table:
    wait, cache, running = (snapshot.one(each) for each in ("wait", "cache", "running"))
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="ellipsis", no_wrap=True)
    table.add_row(
        "Wait",
        f"p50 {age(wait['p50_seconds'])}   p95 {age(wait['p95_seconds'])}   of {wait['builds']:,} builds"
        if wait["builds"]
        else "no build was claimed in the last 15 minutes",
    )
    table.add_row(
        "Cache",
        f"{100 * cache['hit_ratio']:.1f} % hits   of {cache['hits'] + cache['misses']:,} look-ups"
        if cache["hit_ratio"] is not None
        else "no look-up in the last 15 minutes",
    )
    overdue = f"   past their timeout: {running['overdue']:,}" if running["overdue"] else ""
    table.add_row("Workers", f"{running['workers']:,}   builds: {running['builds']:,}{overdue}")
    return table


def _held(snapshot: Snapshot, *, is_wide: bool) -> RenderableType:
    if not snapshot.rows["held"]:
        return Text("No worker holds a build.")
    columns = ("Worker", "Build", "Step", "Done", "Runs", "Left", "Silent")
    table = _table(*columns, *(("Customer", "P", "Try") if is_wide else ()), left=3)
    for row in snapshot.rows["held"]:
        cells = (
            row["worker_id"],
            str(row["id"])[:8],
            row["current_step"] or "",
            f"{row['progress_percent']} %",
            *(age(row[each]) for each in ("elapsed_seconds", "remaining_seconds", "silent_seconds")),
        )
        more = (row["customer_id"], str(row["priority"]), str(row["retry_count"] + 1))
        table.add_row(*map(Text, cells + more if is_wide else cells))
    return table


def age(seconds: float | None) -> str:
    """Return a duration in short: 42s, 3m 05s, 2h 07m, 4d 03h; with a minus when it is still to come.

    Args:
        seconds: The duration; None gives nothing.
    """
    if seconds is None:
        return ""
    rest = round(abs(seconds))
    sign = "-" if seconds < 0 and rest else ""
    if rest < 60:
        return f"{sign}{rest}s"
    if rest < 3600:
        return f"{sign}{rest // 60}m {rest % 60:02}s"
    if rest < 86_400:
        return f"{sign}{rest // 3600}h {rest // 60 % 60:02}m"
    return f"{sign}{rest // 86_400:,}d {rest // 3600 % 24:02}h"
