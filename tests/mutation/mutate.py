"""Take away one protection after another, and see which test notices.

    python tests/mutation/mutate.py [--new] [--only EXPRESSION] [--jobs 2] [--pg-bin DIR] [KIND ...]

Takes away each constraint of a table or a domain, each unique index, each trigger, and each condition that
stands in a WHERE clause of a function, one at a time, and runs the tests until one fails: those first whose
file is named after the object, or mentions it. A test that fails without any mutation, too, does not count.
Writes RESULTS.md: what it did not try keeps the line that it has there. Returns 1 if a mutation went
unnoticed that is not known to be harmless.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from mutation.mutants import KINDS, Mutant  # noqa: E402
from mutation.plugin import MutationRun, Verdict  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.queues import SimpleQueue

RESULTS = Path(__file__).with_name("RESULTS.md")
TESTS = (
    "tests/build_queue",
    "tests/core",
    "tests/intake",
    "tests/properties/test_queue_model.py",
    "tests/properties/test_quota_model.py",
    "tests/security",
    "tests/system/test_audit_log_append_only.py",
    "tests/system/test_log_partitions.py",
    "tests/system/test_purge_soft_deleted_records.py",
    "tests/system/test_record_audit.py",
    "tests/system/test_update_updated_at_column.py",
    "tests/test_calls.py",
    "tests/test_constraints.py",
    "tests/test_documents.py",
    "tests/test_invariants.py",
    "tests/test_older_design.py",
)
"""Tests of what the schema does. Those that compare catalogs would notice everything, and prove nothing."""

_NAMES_THE_INDEX = "the conditions beside it say more; it names the index"
_SPARES_A_CALL = "spares a call that would find nothing"
HARMLESS = {
    "admit_builds: q.status IN ('queued', 'building')": _NAMES_THE_INDEX,
    "admit_builds: q.status IN ('queued', 'building') (2)": _NAMES_THE_INDEX,
    "admit_builds: q.customer_id = p_customer_id (3)": _SPARES_A_CALL,
    "admit_builds: q.status = 'queued' (3)": _SPARES_A_CALL,
    "admit_builds: q.admission = 'waiting' (2)": _SPARES_A_CALL,
    "admit_waiting_builds: b.status = 'queued' (2)": "only queued builds wait; it names the index",
    "admit_waiting_builds: w.customer_id IS NOT NULL (2)": _SPARES_A_CALL,
    "free_build_slot: q.customer_id = NEW.customer_id": _SPARES_A_CALL,
    "free_build_slot: q.status IN ('queued', 'building')": _SPARES_A_CALL,
    "free_build_slot: q.admission = 'ready'": _SPARES_A_CALL,
    "free_build_slot: q.status = 'queued'": _SPARES_A_CALL,
    "free_build_slot: (q.priority < NEW.priority OR q.priority = NEW.priority"
    " AND q.queued_at > NEW.queued_at)": _SPARES_A_CALL,
    "get_license_quota_usage: b.status IN ('queued', 'building')": _NAMES_THE_INDEX,
    "get_license_quota_usage: b.admission = 'ready'": "builds that run are ready; it names the index",
    "get_next_build_for_worker: b.status = 'queued'": _SPARES_A_CALL,
    "get_next_build_for_worker: b.admission = 'delayed'": _SPARES_A_CALL,
    "get_next_build_for_worker: b.queued_at <= v_now": _SPARES_A_CALL,
    "raise_claim_bounds: q.queued_at >= lane.bound": "spares passing over what lies before the bound",
    "release_delayed_builds: r.admission = 'waiting'": _SPARES_A_CALL,
    "update_conversation_stats: c.messages > 0": _SPARES_A_CALL,
}
"""Mutations that change what something costs, but not its outcome, with the reason."""


def run_share(
    number: int,
    jobs: int,
    is_asked_for: Callable[[Mutant], bool],
    options: list[str],
    results: SimpleQueue[object],
) -> None:
    """Try every so many-th mutant, in a process of its own.

    Args:
        number: Which share, from 0.
        jobs: How many shares there are.
        is_asked_for: Says which mutants to share.
        options: Options for pytest.
        results: Gets kind and name of all mutants, then each verdict with kind and name, then an exit code.
    """

    def choose(every: list[Mutant]) -> list[Mutant]:
        results.put([(mutant.kind, mutant.what) for mutant in every])
        return [mutant for mutant in every if is_asked_for(mutant)][number::jobs]

    def report(mutant: Mutant, verdict: Verdict) -> None:
        results.put((mutant.kind, mutant.what, verdict))

    os.chdir(ROOT)
    output = tempfile.TemporaryFile("w+")  # noqa: SIM115 - it lives as long as the process
    os.dup2(output.fileno(), 1)
    arguments = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", *options, *TESTS]
    code = 1
    try:
        code = int(pytest.main(arguments, plugins=[MutationRun(choose, report)]))
    finally:
        if code:
            output.seek(0)
            sys.stderr.write(output.read())
        results.put(code)


def line(kind: str, what: str, verdict: Verdict) -> str:
    """Say in one line of RESULTS.md what became of a mutant."""
    harmless = HARMLESS.get(what) if kind == "condition" else None
    if verdict.test:
        result = f"`{verdict.test}`"
    elif verdict.error:
        result = f"**{verdict.error}**"
    else:
        result = f"harmless: {harmless}" if harmless else f"**UNNOTICED** by {verdict.tests} tests"
    return f"| `{what}` | {result} |".replace("||", r"\|\|")


def write(lines: dict[tuple[str, str], str]) -> None:
    """Write RESULTS.md."""
    text = [
        "# What notices each mutation",
        "",
        "`python tests/mutation/mutate.py` writes this page. For each protection of the database that it",
        "takes away, it names the first test that failed, or says why none can. The number after a condition",
        "tells it from others of the same text.",
    ]
    for kind in KINDS:
        rows = [row for (of_kind, _), row in lines.items() if of_kind == kind]
        noticed = sum("` | `" in row for row in rows)
        harmless = sum("` | harmless: " in row for row in rows)
        neither = len(rows) - noticed - harmless
        text += ["", f"## Each {kind}", ""]
        text += [f"{len(rows)} tried: {noticed} noticed, {harmless} harmless, {neither} neither."]
        text += ["", "| Taken away | Noticed by |", "|---|---|", *rows]
    RESULTS.write_text("\n".join(text) + "\n")


def main() -> int:
    """Try the mutants that are asked for."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("kinds", nargs="*", help=f"which of {', '.join(KINDS)}; all by default")
    parser.add_argument("--only", default="", help="only what this regular expression is found in")
    parser.add_argument("--new", action="store_true", help="only what RESULTS.md has no test or reason for")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--pg-bin", type=Path)
    arguments = parser.parse_args()
    if unknown := set(arguments.kinds) - set(KINDS):
        parser.error(f"no such kind: {', '.join(sorted(unknown))}")
    options = [f"--pg-bin={arguments.pg_bin}"] if arguments.pg_bin else []
    known: dict[tuple[str, str], str] = {}
    if RESULTS.exists():
        kind = ""
        for row in RESULTS.read_text().splitlines():
            kind = row.removeprefix("## Each ") if row.startswith("## ") else kind
            if found := re.match(r"\| `(.*?)` \| ", row):
                known[kind, found[1].replace(r"\|\|", "||")] = row

    processes = multiprocessing.get_context("fork")
    results: SimpleQueue[object] = processes.SimpleQueue()

    def is_asked_for(mutant: Mutant) -> bool:
        if arguments.new and "**" not in known.get((mutant.kind, mutant.what), "**"):
            return False
        return mutant.kind in (arguments.kinds or KINDS) and bool(re.search(arguments.only, mutant.what))

    workers = [
        processes.Process(target=run_share, args=(number, arguments.jobs, is_asked_for, options, results))
        for number in range(arguments.jobs)
    ]
    for worker in workers:
        worker.start()
    order: list[tuple[str, str]] = []
    tried: dict[tuple[str, str], str] = {}
    running = arguments.jobs
    while running:
        match results.get():
            case list() as every:
                order = every
            case (kind, what, Verdict() as verdict):
                tried[kind, what] = line(kind, what, verdict)
                sys.stdout.write(f"{tried[kind, what]} {verdict.tests} {verdict.error}\n")
                sys.stdout.flush()
                lines = known | tried
                write({key: lines[key] for key in order if key in lines})
            case code:
                running -= 1
                if code:
                    sys.exit(f"pytest ended with exit code {code}")
    return int(any("**" in row for row in tried.values()))


if __name__ == "__main__":
    sys.exit(main())
