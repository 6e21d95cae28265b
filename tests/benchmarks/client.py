"""One client that repeats an operation through a prepared statement, each time in a back end of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psycopg.rows import dict_row

from benchmarks.contestants import PAYLOAD, connect, for_psycopg

if TYPE_CHECKING:
    from sqlalchemy import URL

    from benchmarks.contestants import Contestant

Jobs = list[dict[str, Any]]


class Client:
    """Does operations of a contestant.

    Args:
        url: The contestant's database.
        contestant: Whose operations.
    """

    def __init__(self, url: URL, contestant: Contestant) -> None:
        self._url = url
        self._contestant = contestant
        self._number = 0
        self._jobs: Jobs = []
        self._claimed: Jobs = []

    def provide(self, operation: str, count: int) -> None:
        """Claim the jobs that an operation needs, so that they can be done without claiming them then.

        Jobs that were claimed only to do so are completed first, for customers may have a limit.
        """
        self._do(self._contestant.complete, self._claimed)
        self._claimed = []
        if operation == "retry":
            self.provide("failure", count)
            self._do(self._contestant.operations["failure"], self._jobs)
        elif self._needs_jobs(operation):
            _, self._jobs = self._do(self._contestant.claim, [{}] * count)

    def repeat(self, operation: str, count: int) -> int:
        """Do an operation so many times, and return the process id of the back end, which has ended."""
        jobs = [self._jobs.pop() for _ in range(count)] if self._needs_jobs(operation) else [{}] * count
        process_id, rows = self._do(self._contestant.operations[operation], jobs)
        if operation.startswith("claim"):
            self._claimed += rows
        return process_id

    def _needs_jobs(self, operation: str) -> bool:
        return ":job_" in self._contestant.operations[operation]

    def _do(self, statement: str, jobs: Jobs) -> tuple[int, Jobs]:
        text = for_psycopg(statement)
        rows: Jobs = []
        with connect(self._url, row_factory=dict_row) as connection:
            for job in jobs:
                self._number += 1
                values = {"worker": 0, "payload": PAYLOAD, "number": self._number, **self._contestant.values}
                values |= {f"job_{column}": value for column, value in job.items()}
                cursor = connection.execute(text, values, prepare=True)
                if cursor.description is not None:
                    rows += cursor.fetchall()
                assert cursor.rowcount, f"{statement} did nothing"
            return connection.info.backend_pid, rows
