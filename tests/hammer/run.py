"""A run of the hammer: a server, its clients, the faults, and what the invariants say afterwards."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import random
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psycopg

from builders import add_cache_entry, add_conversation, add_customer, add_license
from hammer.clients import be_customer, be_worker
from honua_schema import sqlfile
from honua_schema.runner import MigrationRunner
from invariants import OF_THE_DATABASE, OF_THE_JOURNAL, load_journal, violations

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.process import BaseProcess
    from pathlib import Path

    from honua_schema.embedded import EmbeddedServer

SAMPLED = ("concurrency_limit",)
"""What is checked while the clients work, too. What breaks another invariant is still there at the end."""
SHARE_OF_COUNTING = 0.05
"""How much of its time the watcher spends on counting builds, which takes the longer the more there are."""
HELD_FOR = 5
"""For how many seconds a snapshot is held: long enough for claims to need their bounds."""
STOPPED_FOR = 4
"""For how many seconds a worker is stopped: longer than builds may take."""


@dataclass(frozen=True)
class Plan:
    """What a run does.

    Attributes:
        builds: Builds that customers order beyond their quota tests.
        workers: Worker processes.
        terminations: Back ends that are ended by pg_terminate_backend().
        kills: Workers that are killed and replaced.
        stops: Workers that are stopped past the timeout of their builds, then continued.
        snapshots: Times that a transaction holds a snapshot, so that nothing can be vacuumed.
        crashes: Times that the server's first process is killed.
        without: Name of a protection that is taken away, to show that its loss is noticed: see `PROTECTIONS`.
        seed: Seed of the order of the faults.
    """

    builds: int = 2000
    workers: int = 16
    terminations: int = 6
    kills: int = 6
    stops: int = 4
    snapshots: int = 2
    crashes: int = 1
    without: str | None = None
    seed: int = 1


@dataclass
class Outcome:
    """What a run came to.

    Attributes:
        server: Version of the server.
        seconds: From the first order to the end of the last build.
        faults: How often each fault was done.
        builds: Builds by the state in which they ended.
        attempts: Attempts at all builds.
        acknowledged: Acknowledgements by kind.
        violations: Rows that break an invariant, by its name.
    """

    server: str
    seconds: float = 0
    faults: Counter[str] = field(default_factory=Counter)
    builds: dict[str, int] = field(default_factory=dict)
    attempts: int = 0
    acknowledged: Counter[str] = field(default_factory=Counter)
    violations: dict[str, list[Any]] = field(default_factory=dict)


def without_fence(connection: psycopg.Connection[Any]) -> None:
    """Let anyone complete a build at any time."""
    text = (sqlfile.CURRENT / "build_queue/complete_build.sql").read_text()
    fence = "\n".join(
        [
            "",
            "      AND b.worker_id = p_worker_id",
            "      AND b.retry_count = p_retry_count",
            "      AND b.status IS NOT DISTINCT FROM 'building'",
        ]
    )
    assert fence in text
    connection.execute(text.replace(fence, "").encode())


def without_admission(connection: psycopg.Connection[Any]) -> None:
    """Let workers claim builds that wait for a slot."""
    text = (sqlfile.CURRENT / "build_queue/get_next_build_for_worker.sql").read_text()
    assert " AND q.admission = 'ready'" in text
    connection.execute(text.replace(" AND q.admission = 'ready'", "").encode())


def without_durability(connection: psycopg.Connection[Any]) -> None:
    """Acknowledge commits before they are on disk."""
    for setting in ("synchronous_commit = off", "wal_writer_delay = '10s'", "wal_writer_flush_after = '1GB'"):
        connection.execute(f"ALTER SYSTEM SET {setting}".encode())
    connection.execute("SELECT pg_reload_conf()")


PROTECTIONS: dict[str, Callable[[psycopg.Connection[Any]], None]] = {
    "fence": without_fence,
    "durability": without_durability,
    "admission": without_admission,
}


class Hammer:
    """One run.

    Args:
        server: A running server with fsync on, for this run alone.
        folder: An empty folder for the journals.
        plan: What to do.
    """

    def __init__(self, server: EmbeddedServer, folder: Path, plan: Plan) -> None:
        self._server = server
        self._folder = folder
        self._plan = plan
        self._finished = folder / "finished"
        self._dice = random.Random(plan.seed)
        self._names = (f"worker-{number}" for number in itertools.count(1))
        self._workers: list[BaseProcess] = []
        self._stopped: dict[int, float] = {}
        self._holders: dict[psycopg.Connection[Any], float] = {}
        url = server.url("hammer").set(drivername="postgresql")
        self._conninfo = url.render_as_string(hide_password=False)
        self._outcome = Outcome(server="")

    def run(self) -> Outcome:
        """Do it, and return what it came to once every build has ended."""
        self._prepare()
        started = time.monotonic()
        half = self._plan.builds // 2
        customers = [
            self._fork(be_customer, f"customer-{number}", builds)
            for number, builds in enumerate([half, self._plan.builds - half])
        ]
        self._workers = [self._start_worker() for _ in range(self._plan.workers)]
        try:
            self._watch(customers)
            self._outcome.seconds = time.monotonic() - started
        finally:
            self._finished.touch()
            for process in [*customers, *self._workers]:
                self._continue(process)
                process.join(10)
                process.kill()
            for holder in self._holders:
                holder.close()
        self._examine()
        return self._outcome

    def _prepare(self) -> None:
        self._server.create_database("hammer")
        result = MigrationRunner(self._server.url("hammer")).apply_migrations()
        assert result.success, result.errors
        with self._connect() as connection:
            [(self._outcome.server,)] = connection.execute("SHOW server_version").fetchall()
            for number in range(80):
                customer = add_customer(connection, f"hammer-{number}")
                add_conversation(connection, customer)
                if number % 8:
                    limits = {"max_concurrent_builds": number % 8, "max_builds_per_month": None}
                    add_license(connection, customer, **limits)
            for number in range(5):
                quota = max(3, self._plan.builds // 1000)
                limits = {"max_concurrent_builds": 2, "max_builds_per_month": quota}
                add_license(connection, add_customer(connection, f"quota-{number}"), **limits)
            for _ in range(5):
                add_cache_entry(connection)
            if self._plan.without:
                PROTECTIONS[self._plan.without](connection)

    def _watch(self, customers: list[BaseProcess]) -> None:
        """Do the faults as the work goes on, and look at the invariants meanwhile, until no build is left."""
        plan = self._plan
        faults = [
            *[self._terminate] * plan.terminations,
            *[self._kill] * plan.kills,
            *[self._stop] * plan.stops,
            *[self._hold] * plan.snapshots,
            *[self._crash] * plan.crashes,
        ]
        self._dice.shuffle(faults)
        count = len(faults)
        count_again = 0.0
        while True:
            time.sleep(0.05)
            for process in self._workers:
                if self._stopped.get(process.pid or 0, time.monotonic()) < time.monotonic():
                    self._continue(process)
            for holder in [each for each, until in self._holders.items() if until < time.monotonic()]:
                holder.close()
                del self._holders[holder]
            still_ordering = any(process.is_alive() for process in customers)
            with contextlib.suppress(psycopg.OperationalError), self._connect() as connection:
                self._note(violations(connection, SAMPLED))
                [(is_bounded,)] = connection.execute(
                    "SELECT last_value > 1 FROM claim_bounds_due_at"
                ).fetchall()
                self._outcome.faults["looks at claims with bounds"] += is_bounded
                began = time.monotonic()
                if began < count_again:
                    continue
                [(ended, left)] = connection.execute(
                    "SELECT count(b.completed_at), count(*) - count(b.completed_at) FROM build_queue AS b"
                ).fetchall()
                count_again = began + (time.monotonic() - began) / SHARE_OF_COUNTING
                while faults and ended > 0.8 * plan.builds * (count - len(faults) + 0.5) / count:
                    if not faults[-1]():
                        break
                    faults.pop()
                if not (still_ordering or left):
                    # Where the work outran the faults, what was acknowledged has yet to survive a crash.
                    if self._crash not in faults:
                        break
                    faults.remove(self._crash)
                    self._crash()

    def _examine(self) -> None:
        with self._connect() as connection:
            lines = list(self._journal())
            self._outcome.acknowledged = Counter(line.split("\t", 1)[0] for line in lines)
            load_journal(connection, lines)
            self._note(violations(connection, [*OF_THE_DATABASE, *OF_THE_JOURNAL]))
            self._outcome.builds = dict(
                connection.execute(
                    "SELECT b.status, count(*) FROM build_queue AS b GROUP BY b.status"
                ).fetchall()
            )
            [(self._outcome.attempts,)] = connection.execute(
                "SELECT sum(b.retry_count + 1)::integer FROM build_queue AS b"
            ).fetchall()

    def _note(self, found: dict[str, list[Any]]) -> None:
        for name, rows in found.items():
            self._outcome.violations.setdefault(name, []).extend(rows)

    def _journal(self) -> Iterator[str]:
        for file in sorted(self._folder.glob("*.tsv")):
            for line in file.read_text().splitlines(keepends=True):
                if line.endswith("\n"):  # the last one may be incomplete
                    yield line

    def _connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self._conninfo, autocommit=True, connect_timeout=5)

    def _fork(self, work: Callable[..., None], name: str, *arguments: object) -> BaseProcess:
        process = multiprocessing.get_context("fork").Process(
            target=work,
            args=(self._conninfo, self._folder / f"{name}.tsv", name, *arguments),
            name=name,
            daemon=True,
        )
        process.start()
        return process

    def _start_worker(self) -> BaseProcess:
        return self._fork(be_worker, next(self._names), self._finished)

    def _terminate(self) -> bool:
        with self._connect() as connection:
            terminated = connection.execute(
                "SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity AS a"
                " WHERE a.application_name = 'hammer' ORDER BY a.state = 'active' DESC, random() LIMIT 1"
            ).fetchall()
        self._outcome.faults["back ends terminated"] += len(terminated)
        return bool(terminated)

    def _kill(self) -> bool:
        number = self._dice.randrange(len(self._workers))
        self._workers[number].kill()
        self._workers[number].join()
        self._workers[number] = self._start_worker()
        self._outcome.faults["workers killed"] += 1
        return True

    def _stop(self) -> bool:
        """Stop the worker that has most to do."""
        running = {each.name: each for each in self._workers if each.pid not in self._stopped}
        with self._connect() as connection:
            busiest = connection.execute(
                "SELECT b.worker_id FROM build_queue AS b"
                " WHERE b.status = 'building' AND b.worker_id = ANY (%s)"
                " GROUP BY b.worker_id ORDER BY count(*) DESC LIMIT 1",
                [list(running)],
            ).fetchall()
        for (name,) in busiest:
            process_id = running[name].pid
            assert process_id
            os.kill(process_id, signal.SIGSTOP)
            self._stopped[process_id] = time.monotonic() + STOPPED_FOR
            self._outcome.faults["workers stopped"] += 1
        return bool(busiest)

    def _continue(self, process: BaseProcess) -> None:
        if process.pid and self._stopped.pop(process.pid, None):
            os.kill(process.pid, signal.SIGCONT)

    def _hold(self) -> bool:
        holder = psycopg.connect(self._conninfo)
        holder.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        holder.execute("SELECT pg_current_xact_id()")
        self._holders[holder] = time.monotonic() + HELD_FOR
        self._outcome.faults["snapshots held"] += 1
        return True

    def _crash(self) -> bool:
        process_id = self._server.process_id
        assert process_id
        os.kill(process_id, signal.SIGKILL)
        self._server.start()
        self._outcome.faults["postmaster killed"] += 1
        return True
