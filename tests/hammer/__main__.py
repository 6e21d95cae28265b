"""The fault-injection test as a command: see docs/explain/build-queue.md."""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from hammer.run import Hammer, Outcome, Plan
from honua_schema.embedded import EmbeddedServer

PLANS = {
    "full": Plan(builds=100_000, terminations=130, kills=70, stops=40, snapshots=20, crashes=10),
    "short": Plan(builds=1000),
    "without-fence": Plan(builds=1500, without="fence", stops=8),
    "without-durability": Plan(builds=1000, without="durability", crashes=3),
    "without-admission": Plan(builds=1000, without="admission"),
}
EVERYTHING = [name for name in PLANS if name != "short"]


def hammer(plan: Plan, folder: Path, bin_folder: Path | None) -> Outcome:
    """Run a plan on a server of its own.

    Args:
        plan: What to do.
        folder: Where the server's data and the journals go, for as long as the run takes.
        bin_folder: The PostgreSQL programs; None for the embedded ones.
    """
    with tempfile.TemporaryDirectory(prefix="hammer-", dir=folder) as name:
        root = Path(name)
        root.chmod(0o755)
        journals = root / "journals"
        journals.mkdir()
        server = EmbeddedServer(root / "server", bin_folder=bin_folder)
        try:
            server.start()
            return Hammer(server, journals, plan).run()
        finally:
            server.remove()


def report(plan: Plan, outcome: Outcome) -> str:
    """Put an outcome into words."""
    found = outcome.violations
    lines = [
        f"PostgreSQL {outcome.server}, {plan.workers} workers, without {plan.without or 'nothing'}",
        f"  {sum(outcome.builds.values())} builds ended in {outcome.seconds:.0f} s: {outcome.builds}",
        f"  {outcome.attempts} attempts; acknowledged: {dict(outcome.acknowledged)}",
        f"  faults: {dict(outcome.faults)}",
        f"  violations: {({name: len(rows) for name, rows in found.items()}) or 'none'}",
        *[f"    {name}: {row}" for name, rows in found.items() for row in rows[:3]],
    ]
    return "\n".join(lines)


def main() -> int:
    """Run plans, and return 1 unless only those without a protection went wrong."""
    parser = argparse.ArgumentParser(prog="hammer", description=__doc__)
    parser.add_argument("plans", nargs="*", default=EVERYTHING, help=f"which of {', '.join(PLANS)}")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="where data goes")
    parser.add_argument("--pg-bin", type=Path, help="PostgreSQL programs other than the embedded ones")
    parser.add_argument("--seed", type=int, default=1, help="changes the order of the faults")
    arguments = parser.parse_args()
    as_expected = True
    for name in arguments.plans:
        plan = replace(PLANS[name], seed=arguments.seed)
        outcome = hammer(plan, arguments.folder, arguments.pg_bin)
        sys.stdout.write(report(plan, outcome) + "\n")
        sys.stdout.flush()
        as_expected = as_expected and bool(outcome.violations) == bool(plan.without)
    return 0 if as_expected else 1


if __name__ == "__main__":
    sys.exit(main())
