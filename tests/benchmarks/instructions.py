"""Instructions that a back end executes for one operation, counted by callgrind: they repeat, seconds don't.

The server runs under valgrind, and one client asks it through prepared statements, as clients do. Each
operation has two back ends of its own, which repeat it a few times and often; the difference of their
counts, divided by the difference of the repetitions, leaves out what starting, planning and ending take.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.client import Client
from honua_schema.embedded import EmbeddedServer
from honua_schema.errors import SchemaError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from benchmarks.contestants import Contestant

SHORT = 20  # the planner has settled for a plan by then
SETTINGS = {"autovacuum": "off", "fsync": "off", "max_wal_size": "4GB", "checkpoint_timeout": "1h"}
WRAPPER = """#!/bin/sh
exec {programs}/pg_ctl "$@" -t 600 -p {folder}/postgres-counted
"""
COUNTED = """#!/bin/sh
exec {valgrind} --tool=callgrind --callgrind-out-file={counts}/%p --log-file=/dev/null {programs}/postgres \\
    "$@"
"""


@dataclass(frozen=True)
class Count:
    """Instructions that an operation takes.

    Attributes:
        instructions: Per operation.
        profile: File with callgrind's counts of the longer run, by function.
    """

    instructions: int
    profile: Path


def count_instructions(
    contestant: Contestant,
    folder: Path,
    bin_folder: Path | None,
    *,
    repeat: int = 100,
    queued: int = 5000,
    only: Sequence[str] = (),
) -> Iterator[tuple[str, Count]]:
    """Count the instructions of each operation.

    Args:
        contestant: Whose operations.
        folder: A new or empty folder, in which the server and the counts stay.
        bin_folder: The PostgreSQL programs; None for the embedded ones.
        repeat: By how many repetitions the two runs of an operation differ.
        queued: Jobs that are queued beforehand.
        only: The operations to count; all if none is named.

    Raises:
        SchemaError: valgrind is not installed.
    """
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise SchemaError("valgrind is not installed.", "On Debian and Ubuntu: apt-get install valgrind")
    with EmbeddedServer(folder / "server", bin_folder=bin_folder, settings=SETTINGS) as server:
        server.create_database("bench")
        contestant.install(server.url("bench"))
        contestant.fill(server.url("bench"), queued)
        programs = server._programs
    counted = EmbeddedServer(
        folder / "server", bin_folder=_wrapped(folder, programs, valgrind), settings=SETTINGS
    )
    counts = folder / "server" / "counts"
    counts.mkdir(exist_ok=True)
    shutil.chown(counts, counts.parent.stat().st_uid, counts.parent.stat().st_gid)
    with counted:
        client = Client(counted.url("bench"), contestant)
        for name in contestant.operations:
            if only and name not in only:
                continue
            client.provide(name, 3 * SHORT + repeat)
            client.repeat(name, SHORT)  # the first back end fills caches that all share
            short, long = (counts / str(client.repeat(name, count)) for count in (SHORT, SHORT + repeat))
            yield name, Count((_total(long) - _total(short)) // repeat, long)
        postmaster = counts / str(counted.process_id)
    _total(postmaster)  # it ends last, and writes into the folder


def annotate(profile: Path) -> str:
    """Return the functions of a profile that execute most instructions themselves."""
    command = ["callgrind_annotate", "--auto=no", "--threshold=90", profile]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _total(profile: Path) -> int:
    """Wait until a process, which has ended, has written its profile, and return the instructions in it."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if profile.exists() and (found := re.search(r"^totals: (\d+)", profile.read_text(), re.MULTILINE)):
            return int(found[1])
        time.sleep(0.05)
    raise SchemaError(f"callgrind did not write {profile}.")


def _wrapped(folder: Path, programs: Path, valgrind: str) -> Path:
    """Make a folder of programs whose server runs under callgrind."""
    wrapped = folder / "bin"
    wrapped.mkdir(exist_ok=True)
    values = {
        "folder": wrapped, "programs": programs, "valgrind": valgrind, "counts": folder / "server" / "counts",
    }  # fmt: skip
    for name, text in {"pg_ctl": WRAPPER, "postgres-counted": COUNTED}.items():
        (wrapped / name).write_text(text.format(**values))
        (wrapped / name).chmod(0o755)
    (wrapped / "postgres").symlink_to(programs / "postgres")
    return wrapped
