"""Measure the queue and the counters beside other systems: see docs/reference/performance.md."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.contestants import OWN
from benchmarks.instructions import annotate, count_instructions
from benchmarks.peers import NAMES, peers
from honua_schema.errors import SchemaError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.contestants import Contestant

CONTESTANTS = [*[each.name for each in OWN], *NAMES]


def chosen(names: Sequence[str] | None) -> list[Contestant]:
    """Return the contestants of these names; peers are installed only when they are asked for."""
    wanted = set(names or CONTESTANTS)
    found = [each for each in OWN if each.name in wanted]
    return [*found, *(each for each in peers() if each.name in wanted)] if wanted & set(NAMES) else found


def write(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def instructions(arguments: argparse.Namespace) -> None:
    for contestant in chosen(arguments.only):
        with tempfile.TemporaryDirectory(prefix="honua-bench-", dir=arguments.folder) as folder:
            Path(folder).chmod(0o755)
            write(f"{contestant.about}: thousand instructions")
            counts = count_instructions(
                contestant, Path(folder), arguments.pg_bin,
                repeat=arguments.repeat, queued=arguments.queued, only=arguments.operation,
            )  # fmt: skip
            for operation, count in counts:
                write(f"  {operation:<28}{count.instructions / 1000:>10.1f}")
                if arguments.profile:
                    write(annotate(count.profile))


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    commands = top.add_subparsers(required=True, metavar="command")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--pg-bin", type=Path, help="PostgreSQL programs other than the embedded ones")
    common.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="where data goes")
    common.add_argument(
        "--only",
        action="append",
        metavar="NAME",
        choices=CONTESTANTS,
        help=f"one of: {'; '.join(CONTESTANTS)}",
    )

    command = commands.add_parser("instructions", parents=[common], help="of a back end, by callgrind")
    command.add_argument(
        "--operation", action="append", default=[], help="such as claim; several times if need be"
    )
    command.add_argument("--repeat", type=int, default=100, help="repetitions that are counted")
    command.add_argument("--queued", type=int, default=5000, help="jobs that are queued beforehand")
    command.add_argument("--profile", action="store_true", help="also print callgrind's list of functions")
    command.set_defaults(run=instructions)
    return top


def main() -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # servers are stopped and removed, too
    arguments = parser().parse_args()
    try:
        arguments.run(arguments)
    except SchemaError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
