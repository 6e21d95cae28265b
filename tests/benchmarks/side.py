"""A contestant on a server of its own, loaded by pgbench.

pgbench, because it costs the machine a few microseconds per statement: the server remains the bottleneck,
as it would not with sixteen Python processes on the same processors. Its script is a whole cycle, with
prepared statements.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.contestants import PAYLOAD, connect
from honua_schema.embedded import EmbeddedServer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import psycopg
    from sqlalchemy import URL

    from benchmarks.contestants import Contestant

SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "autovacuum": "on",
    "shared_buffers": "512MB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
}
"""The same for every contestant; all others are the server's defaults."""


@dataclass(frozen=True)
class Run:
    """What pgbench did.

    Attributes:
        count: Scripts that were run.
        per_second: Scripts per second.
        cpu: Microseconds of processor time per script that all processes of the server took.
        latencies: Milliseconds that each line of the script took, in its order.
        windows: Scripts per second in each window of time.
    """

    count: int
    per_second: float
    cpu: float
    latencies: list[float]
    windows: list[float]


def cycle(contestant: Contestant) -> str:
    """Return a pgbench script that enqueues, claims and completes a job."""
    if contestant.complete_and_claim:
        return script(contestant.enqueue, f"{contestant.complete_and_claim} \\gset job_")
    return script(contestant.enqueue, f"{contestant.claim} \\gset job_", contestant.complete)


def script(*statements: str) -> str:
    """Return a pgbench script of statements."""
    ended = [each if "\\gset" in each else f"{each};" for each in statements]
    return "\n".join(["\\set number random(0, 1000000)", "\\set worker :client_id", *ended, ""])


class Side:
    """A contestant and its running server."""

    def __init__(self, contestant: Contestant, server: EmbeddedServer) -> None:
        self.contestant = contestant
        self.server = server

    @property
    def url(self) -> URL:
        """The contestant's database."""
        return self.server.url("bench")

    def connect(self, **options: Any) -> psycopg.Connection[Any]:
        """Connect to the contestant's database; each statement commits."""
        return connect(self.url, **options)

    def value(self, query: str) -> Any:
        """Return the only value that a query returns."""
        with self.connect() as connection:
            [(value,)] = connection.execute(query.encode()).fetchall()
        return value

    def run(
        self,
        text: str,
        clients: int,
        *,
        seconds: float = 0,
        count: int = 0,
        window: int = 0,
        values: Mapping[str, str] | None = None,
    ) -> Run:
        """Let clients run a script for a time, or so many times in all, and return what came of it."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "script.sql")
            file.write_text(text)
            given = {"payload": PAYLOAD, **self.contestant.values, **(values or {})}
            command = [
                self.server._programs / "pgbench", "--no-vacuum", "--protocol=prepared",
                "--report-per-command",
                f"--client={clients}", f"--jobs={min(clients, os.cpu_count() or 1)}", f"--file={file}",
                *(f"--define={name}={value}" for name, value in given.items()),
                f"--transactions={-(-count // clients)}" if count else f"--time={max(1, round(seconds))}",
                *([f"--progress={window}"] if window else []),
                "--host", self.server.host, "--port", str(self.server.port), "--username",
                self.server.user, "bench",
            ]  # fmt: skip
            before = processor_time(self.server)
            finished = subprocess.run(command, capture_output=True, text=True, check=False)
            wait_for_clients_to_end(self.server)
            used = processor_time(self.server) - before
        output = finished.stdout + finished.stderr
        assert finished.returncode == 0, output
        assert "number of failed transactions: 0 " in output, output
        done, per_second = (
            re.search(pattern, output)
            for pattern in (r"actually processed: (\d+)", r"tps = ([\d.]+)")
        )  # fmt: skip
        assert done, output
        assert per_second, output
        return Run(
            count=int(done[1]),
            per_second=float(per_second[1]),
            cpu=used * 1e6 / int(done[1]),
            latencies=[
                float(found) for found in re.findall(r"^ +([\d.]+) +\d+ +(?![ \\])", output, re.MULTILINE)
            ],
            windows=[
                float(found) for found in re.findall(r"^progress: .*?([\d.]+) tps", output, re.MULTILINE)
            ],
        )


def processor_time(server: EmbeddedServer) -> float:
    """Return the seconds that a server's processes have used: those that run, and those that ended.

    The kernel adds the time of a process that has ended to its parent, which is the server's first process.
    """
    ticks = 0
    for process_id, fields in processes(server):
        ticks += sum(map(int, fields[11 : 15 if process_id == server.process_id else 13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def wait_for_clients_to_end(server: EmbeddedServer) -> None:
    """Wait until no back end of a client is left: one that is just ending is in nobody's time."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with suppress(OSError):  # it ended
            if not any(
                fields[0] == "Z" or " bench " in Path(f"/proc/{process_id}/cmdline").read_text()
                for process_id, fields in processes(server)
            ):
                return
        time.sleep(0.01)


def processes(server: EmbeddedServer) -> list[tuple[int, list[str]]]:
    """Return the server's processes, with what the kernel says of each after its name."""
    found = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            process_id, _, rest = file.read_text().partition(" (")
        except OSError:  # it ended
            continue
        fields = rest.rpartition(") ")[2].split()
        if server.process_id in {int(process_id), int(fields[1])}:
            found.append((int(process_id), fields))
    return found


@contextmanager
def open_side(
    contestant: Contestant,
    folder: Path,
    bin_folder: Path | None,
    *,
    queued: int,
    settings: Mapping[str, str] | None = None,
) -> Iterator[Side]:
    """Start a server for a contestant and fill its queue; the server is removed afterwards."""
    root = Path(tempfile.mkdtemp(prefix="honua-bench-", dir=folder))
    root.chmod(0o755)
    server = EmbeddedServer(root / "server", bin_folder=bin_folder, settings={**SETTINGS, **(settings or {})})
    try:
        with server:
            server.create_database("bench")
            side = Side(contestant, server)
            contestant.install(side.url)
            contestant.fill(side.url, queued)
            with side.connect() as connection:
                connection.execute("CHECKPOINT")
            yield side
    finally:
        server.remove()
        root.rmdir()
