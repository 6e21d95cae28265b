"""A worker: claims one build after another and runs a command for each, until it is told to stop.

    python worker.py --worker-id worker-1 -- ./build-image --push

The command finds the manifest, as JSON, on its standard input, and HONUA_BUILD_ID, HONUA_CUSTOMER_ID and
HONUA_BUILD_ARGS in its environment. A line `progress 40 compile` of its output is reported as progress. Its
exit code says whether the build succeeded; its output becomes the build's log. DATABASE_URL says where the
queue is.

On SIGTERM and SIGINT the worker finishes its build and claims no other. Grant it the time: in Kubernetes with
terminationGracePeriodSeconds. The build of a worker that is killed ends when handle_build_timeouts() finds it
silent: run that every minute, with p_heartbeat_seconds at several times --heartbeat.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections import deque
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import psycopg
import sqlalchemy
from sqlalchemy.exc import OperationalError

from honua_schema import queue
from honua_schema.database import resolve_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROGRESS = re.compile(r"progress (\d{1,2}|100)\b *(.{0,255})")
LOG_SIZE = 1_000_000  # characters that are kept, from the end
SPREAD = 0.1  # seconds within which workers that were woken together come for the build

log = logging.getLogger("worker")


class Worker:
    """Claims builds and runs a command for each."""

    def __init__(self, options: argparse.Namespace, url: sqlalchemy.URL) -> None:
        self.options = options
        self.url = url
        self.stopping = threading.Event()
        self._engine = sqlalchemy.create_engine(url, pool_pre_ping=True)
        self._listener: psycopg.Connection[Any] | None = None

    def work(self) -> None:
        """Claim and run builds until `stopping` is set."""
        while not self.stopping.is_set():
            build = self._claim()
            if build:
                # Who listens without reading fills the server's queue of notifications.
                self._stop_listening()
                self._run(build)
            elif not self._listener and self._listen():
                continue  # and look again: something may have been queued in between
            else:
                self._wait()
        self._stop_listening()
        self._engine.dispose()

    def _claim(self) -> queue.ClaimedBuild | None:
        options = self.options
        try:
            with self._engine.begin() as connection:
                return queue.claim(connection, options.worker_id, socket.gethostname(), options.architecture)
        except OperationalError as error:
            log.warning("no claim: %s", error.orig)
            self._stop_listening()
            return None

    def _listen(self) -> bool:
        dsn = self.url.set(drivername="postgresql").render_as_string(hide_password=False)
        with suppress(psycopg.OperationalError):
            self._listener = psycopg.connect(dsn, autocommit=True)
            self._listener.execute("LISTEN honua_build_queue")
            return True
        return False

    def _stop_listening(self) -> None:
        if self._listener:
            self._listener.close()
        self._listener = None

    def _wait(self) -> None:
        """Wait until builds are announced, or it is time to look anyway: PgBouncer announces nothing."""
        look_again = time.monotonic() + self.options.poll
        while time.monotonic() < look_again and not self.stopping.is_set():
            if self._is_called(seconds=min(0.5, self.options.poll)):
                self.stopping.wait(random.uniform(0, SPREAD))  # noqa: S311 - no secret
                return

    def _is_called(self, seconds: float) -> bool:
        if not self._listener:
            self.stopping.wait(seconds)
            return False
        try:
            return any(True for _ in self._listener.notifies(timeout=seconds, stop_after=1))
        except psycopg.OperationalError:
            self._stop_listening()
            return True  # who knows what we missed

    def _run(self, build: queue.ClaimedBuild) -> None:
        """Run the command for a build and record what came of it."""
        log.info("build %s, attempt %s", build.build_id, build.retry_count + 1)
        started = time.monotonic()
        output, error = "", None
        try:
            with self._started(build) as process, self._kept_alive(build, process):
                output = self._follow(build, process)
            if process.returncode:
                error = f"the command ended with exit code {process.returncode}"
        except OSError as reason:
            error = f"the command did not start: {reason}"
        seconds = time.monotonic() - started
        if error:
            recorded = self._record(queue.fail, build, seconds, stdout_log=output, error_message=error)
        else:
            recorded = self._record(queue.complete, build, seconds, stdout_log=output, exit_code=0)
        log.info("build %s: %s", build.build_id, (error or "success") if recorded else "no longer ours")

    @contextmanager
    def _started(self, build: queue.ClaimedBuild) -> Iterator[subprocess.Popen[str]]:
        variables = {
            "HONUA_BUILD_ID": str(build.build_id),
            "HONUA_CUSTOMER_ID": build.customer_id,
            "HONUA_BUILD_ARGS": json.dumps(build.build_args or {}),
        }
        with tempfile.TemporaryFile("w+") as manifest:
            json.dump(build.manifest_json, manifest)
            manifest.seek(0)
            with subprocess.Popen(
                self.options.command,
                stdin=manifest,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                env=os.environ | variables,
                start_new_session=True,  # a Ctrl-C is for the worker, not for its build
            ) as process:
                yield process

    @contextmanager
    def _kept_alive(self, build: queue.ClaimedBuild, process: subprocess.Popen[str]) -> Iterator[None]:
        """Give signs of life until the block ends; end the command if the build is no longer ours."""
        ended = threading.Event()

        def beat() -> None:
            number = signal.SIGTERM
            while not ended.wait(self.options.heartbeat):
                if self._tell(queue.heartbeat, build) is False:
                    log.warning("build %s is no longer ours", build.build_id)
                    end(process, number)
                    number = signal.SIGKILL

        thread = threading.Thread(target=beat)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _follow(self, build: queue.ClaimedBuild, process: subprocess.Popen[str]) -> str:
        """Report progress until the command closes its output, and return what it has written."""
        lines: deque[str] = deque()
        size = 0
        for line in process.stdout or ():
            lines.append(line)
            size += len(line)
            while size > LOG_SIZE:
                size -= len(lines.popleft())
            progress = PROGRESS.match(line)
            if progress and self._tell(queue.report_progress, build, int(progress[1]), progress[2]) is False:
                end(process, signal.SIGTERM)
        # PostgreSQL has no place for a NUL.
        return "".join(lines).replace("\0", "\N{REPLACEMENT CHARACTER}")

    def _tell(self, function: Callable[..., bool], *arguments: Any) -> bool | None:
        """Report on a build. None when the database can't be reached: that may be over at the next report."""
        try:
            with self._engine.begin() as connection:
                return function(connection, *arguments)
        except OperationalError as error:
            log.warning("no report: %s", error.orig)
            return None

    def _record(self, function: Callable[..., Any], *arguments: Any, **details: Any) -> bool:
        """Record the end of a build, however long it takes: said twice, it is recorded once."""
        while True:
            try:
                with self._engine.begin() as connection:
                    return function(connection, *arguments, **details) is not None
            except OperationalError as error:
                log.warning("not recorded yet: %s", error.orig)
                time.sleep(random.uniform(0.5, 1))  # noqa: S311 - no secret


def end(process: subprocess.Popen[str], number: signal.Signals) -> None:
    """Send a signal to a command and all that it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def main() -> None:
    """Work as the command line says."""
    parser = argparse.ArgumentParser(description="Run a command for each build of the queue.")
    parser.add_argument("--worker-id", default=f"{socket.gethostname()}-{os.getpid()}", help="unique name")
    parser.add_argument(
        "--architecture", choices=["amd64", "arm64"], help="what to build for; by default all"
    )
    parser.add_argument("--heartbeat", type=float, default=15, help="seconds between two signs of life")
    parser.add_argument("--poll", type=float, default=10, help="seconds between two looks at the queue")
    parser.add_argument("command", nargs="+", help="what to run for a build")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    worker = Worker(parser.parse_args(), resolve_url())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: worker.stopping.set())
    worker.work()
    log.info("stopped")


if __name__ == "__main__":
    main()
