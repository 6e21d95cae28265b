"""The worker of docs/examples, as a process of its own against a real queue."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from waiting import PATIENCE, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import URL

    from build_queue.driver import Queue

WORKER = Path(__file__).parents[2] / "docs" / "examples" / "worker.py"


class Start(Protocol):
    """Starts workers that are killed when the test ends."""

    def __call__(self, script: str, *options: str) -> subprocess.Popen[str]:
        """Start a worker that runs a shell script for each build."""


@pytest.fixture
def start(database: URL) -> Iterator[Start]:
    workers = []

    def start(script: str, *options: str) -> subprocess.Popen[str]:
        options = (
            "--worker-id",
            f"worker-{len(workers) + 1}",
            "--poll",
            "60",
            "--heartbeat",
            "0.2",
            *options,
        )
        worker = subprocess.Popen(
            [sys.executable, WORKER, *options, "--", "sh", "-c", script],
            env=os.environ | {"DATABASE_URL": database.render_as_string(hide_password=False)},
            stderr=subprocess.PIPE,
            text=True,
        )
        workers.append(worker)
        return worker

    yield start
    for worker in workers:
        worker.kill()
        worker.communicate()


def wait_for(file: Path) -> str:
    """Return a shell script that waits for a file, though not for ever."""
    return f"for _ in $(seq 1000); do [ -e {file} ] && break; sleep 0.05; done"


LISTENING = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'"
)
LOSE_CONNECTIONS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


def until_listening(queue: Queue) -> None:
    """Wait until a worker waits for builds."""
    until(lambda: queue.value(LISTENING))


def until_status(queue: Queue, order: Any, status: str) -> Any:
    """Wait until a build has a status, and return its row."""
    return until(lambda: (build := queue.build(order)).status == status and build)


def ended(worker: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait until a worker has ended, and return its exit code and log."""
    _, log = worker.communicate(timeout=PATIENCE)
    return worker.returncode, log


def test_a_waiting_worker_is_woken_by_a_new_build_and_builds_it(
    queue: Queue, start: Start, tmp_path: Path
) -> None:
    start(
        f"cat > {tmp_path}/manifest; echo $HONUA_BUILD_ARGS > {tmp_path}/arguments; echo progress 40 compile"
    )
    until_listening(queue)

    order = queue.order(build_args={"debug": True})

    build = until_status(queue, order, "success")
    result = queue.result(order)
    assert (build.worker_id, build.current_step) == ("worker-1", "compile")
    assert (result.exit_code, result.stdout_log) == (0, "progress 40 compile\n")
    assert json.loads((tmp_path / "manifest").read_text()) == build.manifest_json
    assert json.loads((tmp_path / "arguments").read_text()) == {"debug": True}


def test_polling_suffices_where_nobody_wakes_the_worker(queue: Queue, start: Start) -> None:
    queue.run("DROP TRIGGER build_queue_announce ON build_queue")
    start("true", "--poll", "0.2")
    until_listening(queue)

    until_status(queue, queue.order(), "success")


def test_a_worker_told_to_stop_finishes_its_build_and_claims_no_other(
    queue: Queue, start: Start, tmp_path: Path
) -> None:
    first, second = queue.order(priority=9), queue.order(priority=1)
    worker = start(f"{wait_for(tmp_path / 'go')}; echo done")
    until_status(queue, first, "building")

    worker.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    assert worker.poll() is None
    (tmp_path / "go").touch()

    code, log = ended(worker)
    assert (code, log.count("Traceback")) == (0, 0)
    assert queue.build(first).status == "success"
    assert queue.result(first).stdout_log == "done\n"
    assert queue.build(second).status == "queued"


def test_a_waiting_worker_told_to_stop_stops_at_once(queue: Queue, start: Start) -> None:
    worker = start("true")
    until_listening(queue)

    worker.send_signal(signal.SIGINT)

    code, log = ended(worker)
    assert code == 0
    assert "stopped" in log


@pytest.mark.parametrize(
    ("script", "message"),
    [("echo no space; exit 3", "the command ended with exit code 3"), ("kill -9 $$", "exit code -9")],
)
def test_a_command_that_fails_fails_the_build_and_the_worker_goes_on(
    queue: Queue, start: Start, script: str, message: str
) -> None:
    orders = [queue.order() for _ in range(2)]
    start(script)

    for order in orders:
        until_status(queue, order, "failed")
        assert message in queue.result(order).error_message


def test_a_command_that_cannot_be_started_fails_the_build(queue: Queue, start: Start) -> None:
    order = queue.order()
    worker = start("", "--", "/no/such/command")

    until_status(queue, order, "failed")

    assert "the command did not start" in queue.result(order).error_message
    assert worker.poll() is None


def test_a_build_shows_signs_of_life_while_its_command_is_silent(
    queue: Queue, start: Start, tmp_path: Path
) -> None:
    order = queue.order()
    start(f"{wait_for(tmp_path / 'go')}")
    build = until_status(queue, order, "building")

    until(lambda: queue.build(order).heartbeat_at > build.heartbeat_at)

    # Who listens without reading would fill the server's queue of notifications.
    assert not queue.value(LISTENING)
    (tmp_path / "go").touch()
    until_status(queue, order, "success")


def test_the_command_of_a_cancelled_build_is_ended_and_the_worker_goes_on(queue: Queue, start: Start) -> None:
    order = queue.order()
    start("[ $HONUA_CUSTOMER_ID = other ] || sleep 600")
    until_status(queue, order, "building")

    queue.cancel(order)

    queue.run(
        "INSERT INTO customers (customer_id, organization_name, contact_email) VALUES ('other', 'o', 'e')"
    )
    until_status(queue, queue.order("other"), "success")
    assert queue.build(order).status == "cancelled"
    assert queue.result(order) is None


def test_a_worker_that_loses_its_connections_records_the_build_all_the_same(
    queue: Queue, start: Start, tmp_path: Path
) -> None:
    order = queue.order()
    start(f"{wait_for(tmp_path / 'go')}; printf 'a\\0b'")
    until_status(queue, order, "building")

    queue.run(LOSE_CONNECTIONS)
    (tmp_path / "go").touch()

    until_status(queue, order, "success")
    assert queue.result(order).stdout_log == "a\N{REPLACEMENT CHARACTER}b"
    until_listening(queue)
    queue.run(LOSE_CONNECTIONS)
    until_status(queue, queue.order(), "success")


def test_the_build_of_a_killed_worker_is_built_by_another(queue: Queue, start: Start, tmp_path: Path) -> None:
    order = queue.order()
    worker = start("sleep 5")
    until_status(queue, order, "building")
    worker.kill()
    worker.wait()

    until(lambda: queue.rows("SELECT * FROM handle_build_timeouts(1)"))
    assert queue.retry(order)
    start("true")

    assert until_status(queue, order, "success").worker_id == "worker-2"
