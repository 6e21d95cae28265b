"""Copies the demo's rows into a database, several pieces at a time."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import uuid
from concurrent.futures import ProcessPoolExecutor, as_completed, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg
from psycopg import sql

from honua_schema.demo.generator import Generator
from honua_schema.demo.world import World
from honua_schema.errors import SchemaError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Connection = psycopg.Connection[Any]

LEVELS = (
    ("customers",),
    ("registry_credentials", "build_cache_registry"),
    ("build_queue",),
    ("licenses", "build_results", "build_manifests"),
    ("build_artifacts", "conversations"),
    ("conversation_messages", "build_access_log", "build_events", "build_metrics"),
    ("conversation_intents", "requirement_extractions"),
)
"""Which tables are filled at the same time, and after which others."""

NUMBERED = {
    "customers": "customer_number",
    "build_access_log": "id",
    "build_events": "id",
    "build_metrics": "id",
    "conversation_messages": "id",
    "conversation_intents": "id",
}
"""Columns whose next number the database draws from a sequence."""

ROWS_WORTH_A_PROCESS = 50_000
LOCK = int.from_bytes(b"hon-demo")


@dataclass(frozen=True)
class Mark:
    """What is written down in the database about the demo's data, in the metadata of the customer 'system'.

    Attributes:
        scale: The scale it was made at; None is the small demo.
        seed: What its random numbers began with.
        anchor: The instant that it ends at, in ISO 8601.
        is_complete: False while it is being loaded.
    """

    scale: float | None
    seed: int
    anchor: str
    is_complete: bool


class Piece(NamedTuple):
    """A range of a table's rows."""

    table: str
    first: int
    end: int


class Loader:
    """Copies pieces, one after the other, over a connection of its own.

    Args:
        conninfo: The database, as libpq reads it.
        generator: What makes the rows.
    """

    def __init__(self, conninfo: str, generator: Generator) -> None:
        self._connection = psycopg.connect(conninfo, autocommit=True)
        # Should the server crash, the load is not complete and starts anew.
        self._connection.execute("SET synchronous_commit = off")
        self._generator = generator

    def copy(self, piece: Piece) -> int:
        """Copy one piece in a transaction of its own.

        Args:
            piece: Which rows of which table.

        Returns:
            How many rows it had.
        """
        table = self._generator.tables[piece.table]
        statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
            sql.Identifier(table.name), sql.SQL(", ").join(map(sql.Identifier, table.columns))
        )
        with self._connection.cursor() as cursor:
            with cursor.copy(statement) as copy:
                for row in table.rows(piece.first, piece.end):
                    copy.write_row(row)
            return cursor.rowcount

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def read_mark(connection: Connection) -> Mark | None:
    """Return what the database says about the demo's data; None when it was never loaded.

    Args:
        connection: A connection to a database at head.
    """
    query = "SELECT c.metadata -> 'demo' FROM customers AS c WHERE c.customer_id = 'system'"
    row = connection.execute(query).fetchone()
    return Mark(**row[0]) if row and row[0] else None


def has_data(connection: Connection) -> bool:
    """Return whether the database has customers besides 'system', or builds, cached builds or conversations.

    Args:
        connection: A connection to a database at head.
    """
    row = connection.execute(
        "SELECT EXISTS (SELECT FROM customers AS c WHERE c.customer_id <> 'system')"
        " OR EXISTS (SELECT FROM build_queue) OR EXISTS (SELECT FROM build_cache_registry)"
        " OR EXISTS (SELECT FROM conversations)"
    ).fetchone()
    return bool(row and row[0])


def load(
    conninfo: str,
    world: World,
    *,
    scale: float | None = None,
    processes: int | None = None,
    report: Callable[[str, int, float], None] = lambda *_: None,
) -> int:
    """Fill an empty database.

    Triggers keep the counters, as they do for an application, and nothing is switched off: COPY fires them
    once per piece. Licences are loaded after the builds; their triggers decide which builds may be claimed.

    Args:
        conninfo: The database, at head, as libpq reads it.
        world: What to fill it with.
        scale: What to write down as the scale.
        processes: How many to copy with; by default one for each processor, and only one for little data.
        report: Called for each piece copied with its table, its rows, and which share of the whole is done.

    Returns:
        The number of rows.

    Raises:
        SchemaError: The database has data already, or is being loaded by another process; or one of the
            processes was ended.
    """
    generator = Generator(world)
    with psycopg.connect(conninfo, autocommit=True) as connection, _only_one(conninfo):
        mark = read_mark(connection)
        if mark and not mark.is_complete:
            _clear(connection)
        elif has_data(connection):
            message = f"The database {connection.info.dbname} has data already."
            raise SchemaError(message, "Load the demo into an empty database.")
        mark = Mark(scale, world.seed, world.anchor.isoformat(), is_complete=False)
        _write_mark(connection, mark)
        _make_partitions(connection, world.start, world.anchor)
        rows = _copy_all(conninfo, generator, processes, report)
        for table, column in NUMBERED.items():
            statement = "SELECT setval(pg_get_serial_sequence('{0}', '{1}'), max({1})) FROM {0}"
            connection.execute(sql.SQL(statement.format(table, column)))
        # So that the first questions find statistics, and index-only scans what they need.
        connection.execute("VACUUM (ANALYZE) " + ", ".join(generator.tables))
        # Each piece of the access log left a dead version of every entry that it was about.
        connection.execute("VACUUM (FULL) build_cache_registry")
        connection.execute("VACUUM build_cache_registry")
        _write_mark(connection, Mark(**{**asdict(mark), "is_complete": True}))
    return rows


def _copy_all(
    conninfo: str, generator: Generator, processes: int | None, report: Callable[[str, int, float], None]
) -> int:
    tables = generator.tables
    expected = sum(table.things * table.rows_per_thing for table in tables.values())
    if processes is None:
        processes = min(os.cpu_count() or 1, 8) if expected > ROWS_WORTH_A_PROCESS else 1
    total, done = 0, 0.0
    with _copier(conninfo, generator, processes) as copy:
        for level in LEVELS:
            pieces = [Piece(name, *piece) for name in level for piece in tables[name].pieces()]
            for piece, rows in copy(pieces):
                total += rows
                done += (piece.end - piece.first) * tables[piece.table].rows_per_thing
                report(piece.table, rows, done / expected)
    return total


@contextmanager
def _copier(
    conninfo: str, generator: Generator, processes: int
) -> Iterator[Callable[[list[Piece]], Iterator[tuple[Piece, int]]]]:
    """Make a function that copies pieces and tells when each is done."""
    if processes == 1:
        with closing(Loader(conninfo, generator)) as loader:
            yield lambda pieces: ((piece, loader.copy(piece)) for piece in pieces)
        return

    def copy(pieces: list[Piece]) -> Iterator[tuple[Piece, int]]:
        futures = {executor.submit(_copy_in_process, piece): piece for piece in pieces}
        for future in as_completed(futures):
            yield futures[future], future.result()

    world = generator.world
    # Making the rows takes as long as storing them: threads would wait for each other.
    executor = ProcessPoolExecutor(
        processes,
        multiprocessing.get_context("spawn"),
        _start_process,
        (conninfo, world.seed, world.anchor, world.volume),
    )
    try:
        # All of them before the first piece: the pool misses one that starts while another dies, and would
        # wait for it for ever.
        wait([executor.submit(_be_ready) for _ in range(processes)])
        yield copy
    except BrokenProcessPool as error:
        message = "A process that was loading data was ended from outside, perhaps for want of memory."
        raise SchemaError(message, "Run it again: the load starts anew.") from error
    finally:
        executor.shutdown(cancel_futures=True)


_loader_of_process: Loader | None = None


def _start_process(conninfo: str, seed: int, anchor: datetime, volume: Any) -> None:
    global _loader_of_process
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started this one reports it
    _loader_of_process = Loader(conninfo, Generator(World(seed=seed, anchor=anchor, volume=volume)))


def _be_ready() -> None:
    """Do nothing: that it was called means that its process has started."""


def _copy_in_process(piece: Piece) -> int:
    if _loader_of_process is None:
        message = "the process was not started with _start_process"
        raise RuntimeError(message)
    return _loader_of_process.copy(piece)


@contextmanager
def _only_one(conninfo: str) -> Iterator[None]:
    """Keep others from loading into the same database."""
    with psycopg.connect(conninfo) as connection:
        connection.execute("SET idle_in_transaction_session_timeout = 0")
        # A literal: a query with parameters would keep its snapshot, and with it every dead row from VACUUM.
        query = sql.SQL("SELECT pg_try_advisory_xact_lock({})").format(LOCK)
        row = connection.execute(query).fetchone()
        if not (row and row[0]):
            message = f"The database {connection.info.dbname} is being filled by another process."
            raise SchemaError(message, "Wait until it has finished.")
        yield


def _write_mark(connection: Connection, mark: Mark) -> None:
    connection.execute(
        "UPDATE customers AS c SET metadata = jsonb_build_object('demo', %s::jsonb)"
        " WHERE c.customer_id = 'system'",
        [json.dumps(asdict(mark))],
    )


def _clear(connection: Connection) -> None:
    """Remove what a load that was interrupted has left."""
    tables = [name for level in LEVELS for name in level if name != "customers"]
    with connection.transaction():
        connection.execute("TRUNCATE " + ", ".join(tables))
        connection.execute("DELETE FROM customers AS c WHERE c.customer_id <> 'system'")


PLACE_HOLDERS = """
INSERT INTO build_queue (id, customer_id, manifest_path, manifest_hash, manifest_json, status)
VALUES (%(id)s, 'system', '', '', '{}', 'cancelled');

INSERT INTO build_access_log (customer_id, access_type, accessed_at, deployment_id)
SELECT 'system', 'cache_miss', m.month, %(id)s FROM unnest(%(months)s::timestamptz[]) AS m (month);

INSERT INTO build_events (build_queue_id, event_type, event_timestamp)
SELECT %(id)s, '', m.month FROM unnest(%(months)s::timestamptz[]) AS m (month);

INSERT INTO build_metrics (build_queue_id, metric_name, metric_value, metric_timestamp)
SELECT %(id)s, '', 0, m.month FROM unnest(%(months)s::timestamptz[]) AS m (month);

SELECT ensure_log_partitions();

DELETE FROM build_queue AS b WHERE b.id = %(id)s;
DELETE FROM build_access_log AS a WHERE a.deployment_id = %(id)s::text;
"""


def _make_partitions(connection: Connection, start: datetime, end: datetime) -> None:
    """Make the monthly partitions of a period before it is filled: rows moved later are written twice.

    ensure_log_partitions() makes the partitions of months that have rows, so each month has one for a moment.
    """
    months = range(start.year * 12 + start.month - 1, end.year * 12 + end.month)
    firsts = [datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC) for month in months]
    # Only a client-side cursor sends several statements with parameters; they are one transaction.
    psycopg.ClientCursor(connection).execute(PLACE_HOLDERS, {"id": uuid.uuid4(), "months": firsts})
