"""A pytest plugin that runs the tests it collects against one mutant after another, until one fails."""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, LiteralString

import psycopg
import pytest
from _pytest.runner import runtestprotocol
from psycopg import sql

from mutation.mutants import Mutant, mutants

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

TIME_LIMIT = 90
"""Seconds after which a test counts as failed: without a protection it may wait or loop for ever."""
LATE = (
    "test_announce_builds.py",
    "test_cost.py",
    "test_queue_model.py",
    "test_quota_model.py",
    "test_worker.py",
)
"""Files whose tests take long. They come last."""
USES_A_COPY = {"connect", "new_database", "postgresql"}
"""Fixtures of which at least one is used by each test on a copy of the template."""
NOT_BY_BEHAVIOUR = ("test_every_named_constraint_is_tested",)
"""Tests that see what is missing in the catalog, and so tell nothing about other tests."""


class TookTooLongError(Exception):
    """A test did not end within the time limit."""


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant.

    Attributes:
        test: The id of the test that failed, None if none did.
        tests: How many tests were run.
        error: The last line of what the test said, or why the mutant could not be made.
    """

    test: str | None
    tests: int
    error: str = ""


class MutationRun:
    """The plugin.

    Args:
        choose: Is told of all mutants, and says which of them to try.
        report: Is told what became of each.
    """

    def __init__(
        self, choose: Callable[[list[Mutant]], list[Mutant]], report: Callable[[Mutant, Verdict], None]
    ) -> None:
        self._choose = choose
        self._report = report
        self._server: Any = None
        self._template = ""

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Generator[None, Any, Any]:
        """Remember where new databases are copied from."""
        made = yield
        if fixturedef.argname == "postgresql_noproc":
            self._server, self._template = made, made.template_dbname
        return made

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run the tests against each mutant that is wanted."""
        # Here, because pytest has to import it first.
        from hypothesis import Phase, settings

        shortened = settings(settings.default, phases=[Phase.explicit, Phase.generate])
        settings.register_profile("without shrinking", shortened)
        settings.load_profile("without shrinking")
        tests = Tests(session.items)
        # The first test starts the server; all tests have to pass as long as nothing is taken away.
        assert not tests.failure(tests.first)
        with self._connect(self._template) as connection:
            every = mutants(connection)
        for mutant in self._choose(every):
            self._report(mutant, self._try(mutant, tests))
        tests.end()
        return True

    def _try(self, mutant: Mutant, tests: Tests) -> Verdict:
        self._administer("DROP DATABASE IF EXISTS mutant")
        self._administer("CREATE DATABASE mutant TEMPLATE {} STRATEGY file_copy", self._template)
        try:
            with self._connect("mutant") as connection:
                connection.execute(mutant.sql.encode())
        except psycopg.Error as error:
            return Verdict(None, 0, f"not made: {error}")
        number = 0
        for number, test in enumerate(tests.for_mutant(mutant), 1):
            self._administer("ALTER DATABASE {} RENAME TO unharmed", self._template)
            self._administer("ALTER DATABASE mutant RENAME TO {}", self._template)
            error = self._failure(tests, test)
            self._administer("ALTER DATABASE {} RENAME TO mutant", self._template)
            self._administer("ALTER DATABASE unharmed RENAME TO {}", self._template)
            if error and not self._failure(tests, test):
                return Verdict(test.nodeid.removeprefix("tests/"), number, error)
        return Verdict(None, number)

    def _failure(self, tests: Tests, test: pytest.Item) -> str:
        def give_up(*_: object) -> None:
            self._administer(
                "SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity AS a"
                " WHERE a.datname ~ '^test_[0-9]'"
            )
            signal.alarm(5)
            raise TookTooLongError

        previous = signal.signal(signal.SIGALRM, give_up)
        signal.alarm(TIME_LIMIT)
        try:
            return tests.failure(test)
        except TookTooLongError:
            return "TookTooLongError"
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, previous)

    def _administer(self, statement: LiteralString, *databases: str) -> None:
        with self._connect("postgres") as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, databases)))

    def _connect(self, database: str) -> psycopg.Connection[Any]:
        return psycopg.connect(
            host=self._server.host,
            port=self._server.port,
            user=self._server.user,
            dbname=database,
            autocommit=True,
        )


class Tests:
    """The tests that were collected, to be run in any order, and more than once.

    Args:
        items: They. Those that use no copy of the template are left out.
    """

    def __init__(self, items: list[pytest.Item]) -> None:
        self._items = [
            item
            for item in items
            if not USES_A_COPY.isdisjoint(getattr(item, "fixturenames", ()))
            and not item.nodeid.endswith(NOT_BY_BEHAVIOUR)
        ]
        self.first = self._items[0]
        self._texts = {item.path: item.path.read_text() for item in self._items}

    def failure(self, item: pytest.Item) -> str:
        """Run a test, and return the last line of what it said if it failed, otherwise nothing."""
        # With the session as next item, all ends with the test but what belongs to the session: the server.
        for report in runtestprotocol(item, nextitem=item.session, log=False):  # type: ignore[arg-type]
            if report.failed:
                lines = [line[1:].strip() for line in report.longreprtext.splitlines() if line[:1] == "E"]
                return next(filter(None, lines), "failed")
        return ""

    def end(self) -> None:
        """End what the tests share."""
        self.first.session._setupstate.teardown_exact(None)

    def for_mutant(self, mutant: Mutant) -> list[pytest.Item]:
        """Return the tests that may notice a mutant, likeliest first."""
        of_constraints = [item for item in self._items if item.path.name == "test_constraints.py"]
        if mutant.kind == "constraint":
            return sorted(
                of_constraints, key=lambda item: not any(clue in item.name for clue in mutant.clues)
            )
        distances = {path: self._distance(path, mutant) for path in self._texts}
        items = [item for item in self._items if distances[item.path] and item not in of_constraints]
        return sorted(items, key=lambda item: (item.path.name in LATE, distances[item.path]))

    def _distance(self, file: Path, mutant: Mutant) -> int:
        """Return how far a test file is from what a mutant lacks; 0 if it has nothing to do with it."""
        for number, clue in enumerate(mutant.clues):
            if file.stem == f"test_{clue}":
                return number + 1
        for number, clue in enumerate(mutant.clues):
            if file.parent.name == clue or re.search(rf"\b{clue}\b", self._texts[file]):
                return number + 1 + len(mutant.clues)
        return 0
