"""The processes that hammer the queue: workers and customers, who write down what they were told.

An acknowledgement is written after the server gave it, to a file outside the database, and is safe from then
on, for processes are killed here and the machine is not: what a killed process wrote stays. A client that
loses its connection does not know what became of its last call, and repeats it.
"""

from __future__ import annotations

import contextlib
import os
import random
import time
from typing import TYPE_CHECKING, Any
from uuid import UUID

import psycopg
from psycopg import errors

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import TypeVar

    Answer = TypeVar("Answer")

BATCH_SIZE = 10
BUILDS_PER_ORDER = 50
FAILURES = 0.1
"""The share of attempts that fail."""


class Journal:
    """A file of acknowledgements that outlives its process.

    Args:
        file: A file that does not exist yet.
    """

    def __init__(self, file: Path) -> None:
        self._file = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND)

    def write(self, kind: str, asked: float, *builds: tuple[UUID, int | str], **fields: str) -> None:
        """Write what was just answered about builds, given by id and retry_count."""
        worker, outcome, answered = fields.get("worker", ""), fields.get("outcome", ""), time.time()
        lines = [
            f"{kind}\t{build_id}\t{retry_count}\t{worker}\t{outcome}\t{asked:.6f}\t{answered:.6f}\n"
            for build_id, retry_count in builds
        ]
        os.write(self._file, "".join(lines).encode())


class Client:
    """A connection that is opened again when it was lost.

    Args:
        conninfo: How to connect, as libpq reads it.
    """

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._connection: psycopg.Connection[Any] | None = None

    def ask(self, query: str, values: tuple[Any, ...] = ()) -> list[Any]:
        """Run one statement in a transaction of its own, as often as it takes to get an answer."""
        while True:
            with contextlib.suppress(psycopg.OperationalError):
                if self._connection is None or self._connection.closed:
                    self._connection = psycopg.connect(
                        self._conninfo, autocommit=True, application_name="hammer", connect_timeout=5
                    )
                cursor = self._connection.execute(query.encode(), values)
                return cursor.fetchall() if cursor.description else []
            time.sleep(0.05)


def repeatedly(work: Callable[[], bool], until: Path) -> None:
    """Do work again and again, with a pause whenever it found nothing to do, until a file appears."""
    while not until.exists():
        if not work():
            time.sleep(0.02)


def be_worker(conninfo: str, journal_file: Path, name: str, finished: Path) -> None:
    """Claim builds, report on them, complete or fail them, and look after what others left behind."""
    journal, client, dice = Journal(journal_file), Client(conninfo), random.Random(name)

    def end(build_id: UUID, retry_count: int) -> None:
        if dice.random() < 0.3:
            client.ask(
                "SELECT update_build_progress(%s, 50, 'compiling', 1, %s, %s)", (build_id, name, retry_count)
            )
        success = dice.random() > FAILURES
        asked = time.time()
        [(result_id,)] = client.ask(
            "SELECT complete_build(%s, %s, %s, %s, 1)", (build_id, name, retry_count, success)
        )
        if result_id is None:
            return
        outcome = "success" if success else "failed"
        journal.write("completed", asked, (build_id, retry_count), worker=name, outcome=outcome)
        if not success:
            client.ask("SELECT retry_failed_build(%s)", (build_id,))
        elif dice.random() < 0.05:
            client.ask(
                "WITH build AS (SELECT b.customer_id FROM build_queue AS b WHERE b.id = %s), talk AS ("
                " INSERT INTO conversation_messages"
                " (conversation_id, sequence_number, role, content, total_tokens)"
                " SELECT c.id, c.total_messages + (random() * 1000000000)::integer, 'user', 'Thank you.', 7"
                " FROM build JOIN conversations AS c USING (customer_id))"
                " SELECT record_cache_access(e.id, build.customer_id, 'cache_hit')"
                " FROM build, (SELECT r.id FROM build_cache_registry AS r ORDER BY random() LIMIT 1) AS e",
                (build_id,),
            )

    def look_after_others() -> None:
        for build_id, _, _ in client.ask("SELECT * FROM handle_build_timeouts(3)"):
            client.ask("SELECT retry_failed_build(%s)", (build_id,))

    next_search = 0.0

    def retry_what_nobody_did() -> None:
        """Retry builds whose worker was killed before it could: they are looked for in the whole queue."""
        nonlocal next_search
        if time.monotonic() < next_search:
            return
        next_search = time.monotonic() + 1
        for (build_id,) in client.ask(
            "SELECT b.id FROM build_queue AS b WHERE b.completed_at > now() - interval '1 minute'"
            " AND b.status IN ('failed', 'timeout') AND b.retry_count < b.max_retries LIMIT 20"
        ):
            client.ask("SELECT retry_failed_build(%s)", (build_id,))

    def work() -> bool:
        asked = time.time()
        claimed = client.ask(
            "SELECT c.build_id, c.retry_count FROM get_next_build_for_worker(%s, 'host', NULL, %s) AS c",
            (name, BATCH_SIZE),
        )
        journal.write("claimed", asked, *claimed, worker=name)
        for build_id, retry_count in claimed:
            end(build_id, retry_count)
        if not claimed or dice.random() < 0.05:
            look_after_others()
        if not claimed:
            retry_what_nobody_did()
        return bool(claimed)

    repeatedly(work, finished)


def be_customer(conninfo: str, journal_file: Path, name: str, builds: int) -> None:
    """Order builds for every customer in turn, and try to exceed the monthly quotas."""
    journal, client, dice = Journal(journal_file), Client(conninfo), random.Random(name)
    customers = [
        customer_id
        for (customer_id,) in client.ask(
            "SELECT c.customer_id FROM customers AS c WHERE c.customer_id LIKE 'hammer-%%' ORDER BY 1"
        )
    ]
    dice.shuffle(customers)

    def order(customer_id: str, count: int) -> None:
        build_ids = [UUID(int=dice.getrandbits(128), version=4) for _ in range(count)]
        asked = time.time()
        client.ask(
            "INSERT INTO build_queue (id, customer_id, manifest_path, manifest_hash, manifest_json, priority,"
            " max_duration_seconds, architecture)"
            " SELECT n, %s, '/m', 'h', '{}', 1 + floor(random() * 10), 2,"
            " CASE WHEN random() < 0.2 THEN 'arm64' ELSE 'amd64' END FROM unnest(%s::uuid[]) AS n"
            " ON CONFLICT (id) DO NOTHING",
            (customer_id, build_ids),
        )
        journal.write("ordered", asked, *[(build_id, "") for build_id in build_ids])

    remaining = builds
    while remaining:
        count = min(remaining, BUILDS_PER_ORDER)
        order(customers[remaining // BUILDS_PER_ORDER % len(customers)], count)
        remaining -= count
        for number in range(5):
            with contextlib.suppress(errors.CheckViolation):
                order(f"quota-{number}", 1)
