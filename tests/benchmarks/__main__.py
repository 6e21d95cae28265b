"""Measure the queue and the counters beside other systems: see docs/reference/performance.md."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.contestants import HONUA, HONUA_AT_ONCE, HONUA_WITH_LIMITS, MINIMAL_WITH_PAYLOAD, OWN
from benchmarks.instructions import annotate, count_instructions
from benchmarks.peers import NAMES, peers
from benchmarks.report import machine, page
from benchmarks.scenarios import SCENARIOS, Plan
from honua_schema.errors import SchemaError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.contestants import Contestant

CONTESTANTS = [*[each.name for each in OWN], *NAMES]
FEW = [HONUA.name, MINIMAL_WITH_PAYLOAD.name, "procrastinate", "pgqueuer"]
NO_CYCLES = [name for name in CONTESTANTS if name != HONUA_AT_ONCE.name]
CONTESTANTS_OF = {
    "sizes": FEW, "lifecycle": [HONUA.name],
    "snapshot": [*FEW, HONUA_WITH_LIMITS.name], "endurance": [*FEW, HONUA_WITH_LIMITS.name],
    "operations": NO_CYCLES, "instructions": NO_CYCLES,
}  # fmt: skip
"""Who takes part in a scenario, where that is not everyone."""
ONE_BY_ONE = ("snapshot", "endurance", "operations", "instructions")
"""Scenarios whose rows may be of different runs, for nobody is compared within a round."""
PRESETS: dict[str, dict[str, object]] = {
    "normal": {
        "rounds": 4, "seconds": 2.0, "clients": [1, 4, 16], "queued": 100_000, "sizes": [1_000,
        100_000, 1_000_000],
        "held": 48, "cycles": 30_000, "log": 1_000_000, "repeat": 100,
    },
    "full": {
        "rounds": 9, "seconds": 10.0, "clients": [1, 4, 16], "queued": 100_000, "sizes": [1_000,
        100_000, 1_000_000],
        "held": 300, "cycles": 1_000_000, "log": 1_000_000, "repeat": 300,
    },
    "smoke": {
        "rounds": 2, "seconds": 1.0, "clients": [2], "queued": 2_000, "sizes": [1_000, 2_000],
        "held": 6, "cycles": 10_000, "log": 10_000, "repeat": 20,
    },
}  # fmt: skip
REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


def write(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def chosen(names: Sequence[str]) -> list[Contestant]:
    """Return the contestants of these names; peers are installed only when they are asked for."""
    found = [each for each in OWN if each.name in names]
    return [*found, *(each for each in peers() if each.name in names)] if set(names) & set(NAMES) else found


def run(arguments: argparse.Namespace) -> None:
    """Measure scenarios, and write the results and the page after each."""
    amounts = PRESETS[arguments.preset] | {
        name: value
        for name, value in vars(arguments).items()
        if value is not None and name in PRESETS["normal"]
    }
    if unknown := set(arguments.scenarios) - SCENARIOS.keys():
        sys.exit(f"There is no scenario {', '.join(sorted(unknown))}. There are: {', '.join(SCENARIOS)}.")
    results = json.loads(arguments.results.read_text()) if arguments.results.exists() else {}
    for name in arguments.scenarios or SCENARIOS:
        contestants = chosen(arguments.only or CONTESTANTS_OF.get(name, CONTESTANTS))
        plan = Plan(
            contestants=contestants,
            folder=arguments.folder,
            bin_folder=arguments.pg_bin,
            say=write,
            **amounts,
        )  # type: ignore[arg-type]
        write(f"{name}: {SCENARIOS[name].__doc__}")
        started = time.monotonic()
        rows = SCENARIOS[name](plan)
        if arguments.only and name in ONE_BY_ONE:
            measured = [each.name for each in contestants]
            rows += [row for row in results.get(name, {"rows": []})["rows"] if row["system"] not in measured]
        results[name] = {
            "rows": rows,
            "minutes": round((time.monotonic() - started) / 60, 1),
            "amounts": amounts,
            "machine": machine(plan),
            "statements": {
                each.name: {"about": each.about, **{key: getattr(each, key) for key in ("enqueue",
                "claim", "complete", "complete_and_claim")}}
                for each in contestants
            },
        }  # fmt: skip
        arguments.results.parent.mkdir(exist_ok=True)
        arguments.results.write_text(json.dumps(results, indent=1) + "\n")
        arguments.results.with_suffix(".md").write_text(page(results))


def report(arguments: argparse.Namespace) -> None:
    """Write the page from results."""
    arguments.results.with_suffix(".md").write_text(page(json.loads(arguments.results.read_text())))


def instructions(arguments: argparse.Namespace) -> None:
    """Print the instructions of a back end, and its profile."""
    for contestant in chosen(arguments.only or CONTESTANTS):
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
    common.add_argument("--folder", type=Path, default=Path("/var/tmp"), help="where data goes: a disk")
    common.add_argument(
        "--only",
        action="append",
        metavar="NAME",
        choices=CONTESTANTS,
        help=f"one of: {'; '.join(CONTESTANTS)}",
    )
    results = argparse.ArgumentParser(add_help=False)
    results.add_argument(
        "--results", type=Path, default=REFERENCE / "performance.json", help="the page is written beside it"
    )

    command = commands.add_parser(
        "run", parents=[common, results], help="measure scenarios, and write the page"
    )
    command.add_argument(
        "scenarios",
        nargs="*",
        metavar="scenario",
        help=f"of {', '.join(SCENARIOS)}; all of them when none is named",
    )
    command.add_argument(
        "--preset", choices=PRESETS, default="normal", help="how much: normal takes half an hour"
    )
    for name, value in PRESETS["normal"].items():
        several = isinstance(value, list)
        kind = type(value[0]) if isinstance(value, list) else type(value)
        command.add_argument(f"--{name}", type=kind, nargs="+" if several else None, help=f"normally {value}")
    command.set_defaults(run=run)

    command = commands.add_parser("report", parents=[results], help="write the page from results")
    command.set_defaults(run=report)

    command = commands.add_parser("instructions", parents=[common], help="of a back end, by callgrind")
    command.add_argument(
        "--operation", action="append", default=[], help="such as claim; more than one if given so"
    )
    command.add_argument("--repeat", type=int, default=100, help="repetitions that are counted")
    command.add_argument("--queued", type=int, default=5000, help="jobs that are queued beforehand")
    command.add_argument("--profile", action="store_true", help="also print callgrind's list of functions")
    command.set_defaults(run=instructions)
    return top


def main() -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # servers are stopped and removed, too
    arguments = parser().parse_args()
    assert set(PRESETS["full"]) == {each.name for each in fields(Plan)} - {
        "contestants",
        "folder",
        "bin_folder",
        "say",
    }
    try:
        arguments.run(arguments)
    except SchemaError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
