"""Measure the queue and the counters beside other systems: see docs/reference/performance.md."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.contestants import OWN
from benchmarks.instructions import annotate, count_instructions
from honua_schema.errors import SchemaError

CONTESTANTS = {each.name: each for each in OWN}


def write(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def instructions(arguments: argparse.Namespace) -> None:
    for name, contestant in CONTESTANTS.items():
        if arguments.only and name not in arguments.only:
            continue
        with tempfile.TemporaryDirectory(prefix="honua-bench-", dir=arguments.folder) as folder:
            Path(folder).chmod(0o755)
            write(f"{name}: thousand instructions")
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
    common.add_argument("--only", action="append", metavar="NAME", help=f"one of: {'; '.join(CONTESTANTS)}")

    command = commands.add_parser("instructions", parents=[common], help="of a back end, by callgrind")
    command.add_argument("--operation", action="append", default=[], help="such as claim; several times if need be")
    command.add_argument("--repeat", type=int, default=100, help="repetitions that are counted")
    command.add_argument("--queued", type=int, default=5000, help="jobs that are queued beforehand")
    command.add_argument("--profile", action="store_true", help="also print callgrind's list of functions")
    command.set_defaults(run=instructions)
    return top


def main() -> int:
    arguments = parser().parse_args()
    try:
        arguments.run(arguments)
    except SchemaError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
