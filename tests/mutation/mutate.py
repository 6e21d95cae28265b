"""Take away one protection after another, and see which test notices.

    python tests/mutation/mutate.py [--only TEXT] [--jobs 2] [--pg-bin DIR] constraints triggers conditions

Takes away each constraint and unique index, each trigger, and each condition that stands in a WHERE clause of
the queue's functions, one at a time. Prints a line for each, with the first test that failed, or SURVIVED.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from honua_schema import sqlfile

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
TIME_LIMIT = 600
"""Seconds after which a test run counts as failed: it may wait for ever."""

WORD = re.compile(r"--[^\n]*|'(?:[^']|'')*'|\w+|[(),;]|[^\w\s]", re.ASCII)
ENDS = {"GROUP", "ORDER", "LIMIT", "RETURNING", "FOR", "UNION", "HAVING", "LOOP", "ON", ";", ")", ","}
"""What ends a WHERE clause when it stands outside of parentheses."""
NOT_RUN = ["--ignore=tests/build_queue/test_announce_builds.py"]
"""Tests of how soon workers wake up: on a busy machine they would fail for that alone."""
OF_CONDITIONS = [
    "tests/build_queue",
    "tests/properties/test_queue_model.py",
    "tests/properties/test_quota_model.py",
    "tests/security",
]
OF_TRIGGERS = [
    "tests/system/test_record_audit.py",
    "tests/system/test_audit_log_append_only.py",
    "tests/system/test_update_updated_at_column.py",
    "tests/security",
    "tests/test_documents.py",
]


REDUNDANT = {
    "admit_builds: q.status IN ('queued', 'building')": "the next ones say more; it names the index",
    "get_next_build_for_worker: b.status = 'queued'": "spares a call that would find nothing",
    "get_next_build_for_worker: b.admission = 'delayed'": "spares a call that would find nothing",
    "get_next_build_for_worker: b.queued_at <= v_now": "spares a call that would find nothing",
    "release_delayed_builds: l.max_concurrent_builds IS NOT NULL": "spares waiting for a slot that is there",
    "release_delayed_builds: r.admission = 'waiting'": "spares a call that would find nothing",
    "requeue_build: l.max_concurrent_builds IS NOT NULL": "spares waiting for a slot that is there",
}
"""Conditions that change the cost, not the outcome. They are listed, and not tried."""


@dataclass(frozen=True)
class Mutation:
    """A protection that is taken away.

    Attributes:
        what: Which one, for people.
        sql: What takes it away.
        tests: Files and folders with the tests that should notice, likeliest first.
    """

    what: str
    sql: str
    tests: tuple[str, ...]


def terms(text: str) -> Iterator[tuple[int, int]]:
    """Yield where each condition of each WHERE clause begins and ends: the parts between its ANDs."""
    words = [word for word in WORD.finditer(text) if not word[0].startswith("--")]
    for number, word in enumerate(words):
        if word[0] == "WHERE" and word.start() > text.index("AS $$"):
            yield from _terms_of_clause(words[number + 1 :])


def _terms_of_clause(words: list[re.Match[str]]) -> Iterator[tuple[int, int]]:
    depth, start, end, between = 0, words[0].start(), words[0].end(), False
    for word in words:
        if depth == 0 and word[0] in ENDS:
            break
        if depth == 0 and word[0] == "AND" and not between:
            yield start, end
            start = -1
            continue
        if start < 0:
            start = word.start()
        depth += (word[0] in ("(", "CASE")) - (word[0] in (")", "END"))
        if depth == 0 and word[0] in ("BETWEEN", "AND"):
            between = word[0] == "BETWEEN"
        end = word.end()
    yield start, end


def conditions() -> Iterator[Mutation]:
    """Yield each condition of the queue's functions."""
    for each in sqlfile.load_objects():
        if each.domain == "build_queue" and each.kind == "function" and "AS $$" in each.text:
            first = f"tests/build_queue/test_{each.name}.py"
            tests = (first, *OF_CONDITIONS) if (ROOT / first).exists() else tuple(OF_CONDITIONS)
            for start, end in terms(each.text):
                line = each.text.count("\n", 0, start) + 1
                condition = " ".join(each.text[start:end].split())
                mutant = each.text[:start] + "true" + each.text[end:]
                yield Mutation(f"{each.name}:{line}: {condition}", mutant, tests)


def triggers() -> Iterator[Mutation]:
    """Yield each trigger."""
    for each in sqlfile.load_objects():
        if each.kind == "trigger":
            tests = (f"tests/{each.domain}", *OF_TRIGGERS)
            if "audit" in each.name or "updated_at" in each.name or "check" in each.name:
                tests = (*OF_TRIGGERS, f"tests/{each.domain}")
            yield Mutation(f"trigger {each.name}", each.drop_statement, tests)


def run_tests(environment: dict[str, str], tests: tuple[str, ...], *options: str) -> str:
    """Run tests with the plugin and return what pytest printed."""
    command = [sys.executable, "-m", "pytest", "-q", "--tb=no", "-p", "no:cacheprovider", *NOT_RUN]
    try:
        finished = subprocess.run(
            [*command, "-p", "mutation.plugin", *options, *dict.fromkeys(tests)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": "tests" + os.pathsep + str(ROOT), **environment},
            capture_output=True,
            text=True,
            timeout=TIME_LIMIT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"FAILED after {TIME_LIMIT} seconds without an end"
    return finished.stdout + finished.stderr


def noticed(mutation: Mutation, options: list[str]) -> str:
    """Return the first test that fails without the protection, or SURVIVED."""
    function, _, condition = mutation.what.partition(": ")
    if reason := REDUNDANT.get(f"{function.partition(':')[0]}: {condition}"):
        return f"redundant: {reason}"
    output = run_tests({"HONUA_MUTATION": mutation.sql}, mutation.tests, "-x", *options)
    failed = re.search(r"^(?:FAILED|ERROR) (.*?)(?: - .*)?$", output, flags=re.MULTILINE)
    if failed:
        return failed[1].removeprefix("tests/")
    return "SURVIVED" if " passed" in output else f"NOT RUN: {output[-300:]}"


def constraints(options: list[str]) -> Iterator[str]:
    """Yield a line for each constraint and unique index: all have a test of their own, so one run does."""
    output = run_tests({"HONUA_MUTATION_EACH": "yes"}, ("tests/test_constraints.py",), "-rA", *options)
    for verdict, test, name in re.findall(
        r"^(PASSED|FAILED|ERROR) tests/(\S+\[(\w+)\])", output, re.MULTILINE
    ):
        yield f"{name}\t{'SURVIVED' if verdict == 'PASSED' else test}"


def main() -> int:
    """Print what came of each mutation, and return how many survived."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("kinds", nargs="+", choices=["constraints", "triggers", "conditions"])
    parser.add_argument("--only", default="", help="only mutations whose line contains this")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--pg-bin", type=Path)
    arguments = parser.parse_args()
    options = [f"--pg-bin={arguments.pg_bin}"] if arguments.pg_bin else []
    survivors = 0

    def show(line: str) -> None:
        nonlocal survivors
        survivors += line.endswith("SURVIVED")
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    if "constraints" in arguments.kinds:
        for line in constraints(options):
            show(line)
    mutations = [
        mutation
        for kind, found in (("triggers", triggers), ("conditions", conditions))
        if kind in arguments.kinds
        for mutation in found()
        if arguments.only in mutation.what
    ]
    with ThreadPoolExecutor(arguments.jobs) as threads:
        results = threads.map(lambda mutation: noticed(mutation, options), mutations)
        for mutation, result in zip(mutations, results, strict=True):
            show(f"{mutation.what}\t{result}")
    return min(survivors, 100)


if __name__ == "__main__":
    sys.exit(main())
