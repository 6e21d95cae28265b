"""The queue does what a plain model of it does, whatever is done to it in whatever order."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as some
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    rule,
    run_state_machine_as_test,
)

from build_queue.driver import Queue
from builders import add_customer, add_license
from invariants import OF_THE_DATABASE, violations

if TYPE_CHECKING:
    import datetime
    from uuid import UUID

    import psycopg

    Connection = psycopg.Connection[Any]

CUSTOMERS = ["unlicensed", "unlimited", "small", "large"]
LIMITS: dict[str, int | None] = {"unlicensed": None, "unlimited": None, "small": 1, "large": 2}
ENDED = ("success", "failed", "timeout", "cancelled")
HOUR = 3600.0
LIMITS_MAY_HAVE_BEEN_LOWERED = {"concurrency_limit"}


@dataclass
class Build:
    """What the model knows of a build. Times are in seconds, from when the example began."""

    customer: str
    priority: int
    place: float
    architecture: str
    max_retries: int
    is_delayed: bool
    status: str = "queued"
    worker: str | None = None
    retry_count: int = 0
    percent: int = 0
    result: UUID | None = None

    @property
    def order(self) -> tuple[int, float]:
        """The build's place in the queue: the least is first."""
        return -self.priority, self.place


@dataclass(frozen=True)
class Claim:
    """An attempt that was once given to a worker."""

    build: UUID
    worker: str
    retry_count: int


class QueueModel(RuleBasedStateMachine):
    """Does the same to the database and to a model, and compares.

    Args:
        connection: A connection within whose transaction all is done and undone.
    """

    orders = Bundle("orders")
    claims = Bundle("claims")

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self.connection = connection
        self.builds: dict[UUID, Build] = {}
        self.limits = dict(LIMITS)
        self.numbers = itertools.count(1)
        self.clock: datetime.datetime = self.value("SELECT clock_timestamp()")
        self.rows("SELECT setval('claim_bounds_due_at', 1)")
        for customer, limit in LIMITS.items():
            add_customer(connection, customer)
            if customer != "unlicensed":
                add_license(connection, customer, max_concurrent_builds=limit, max_builds_per_month=None)

    def teardown(self) -> None:
        try:
            checked = [name for name in OF_THE_DATABASE if name not in LIMITS_MAY_HAVE_BEEN_LOWERED]
            assert violations(self.connection, checked) == {}
        finally:
            self.connection.rollback()

    def rows(self, query: str, *values: Any) -> list[Any]:
        cursor = self.connection.execute(query.encode(), values or None)
        return cursor.fetchall() if cursor.description else []

    def value(self, query: str, *values: Any) -> Any:
        ((value,),) = self.rows(query, *values)
        return value

    @rule(
        target=orders,
        customer=some.sampled_from(CUSTOMERS),
        priority=some.integers(1, 3),
        minutes=some.integers(-20, -1) | some.just(60),
        architecture=some.sampled_from(["amd64", "arm64", None]),
        max_retries=some.integers(0, 2),
    )
    def order(
        self, customer: str, priority: int, minutes: int, architecture: str | None, max_retries: int
    ) -> UUID:
        place = minutes * 60 + next(self.numbers) / 1000  # no two builds share a place
        build_id: UUID = self.value(
            "INSERT INTO build_queue (customer_id, manifest_path, manifest_hash, manifest_json, priority,"
            " queued_at, architecture, max_retries)"
            " VALUES (%s, '/m', 'h', '{}', %s, %s + make_interval(secs => %s), %s, %s) RETURNING id",
            customer, priority, self.clock, place, architecture, max_retries,
        )  # fmt: skip
        self.builds[build_id] = Build(
            customer, priority, place, architecture or "amd64", max_retries, is_delayed=place > 0
        )
        return build_id

    @rule(
        target=claims,
        worker=some.sampled_from(["ant", "bee"]),
        architecture=some.sampled_from(["amd64", "arm64", None]),
        batch_size=some.integers(1, 4),
    )
    def claim(self, worker: str, architecture: str | None, batch_size: int) -> Any:
        for build in self.builds.values():
            build.is_delayed = build.is_delayed and build.place > 0
        expected = sorted(
            (
                build_id
                for build_id, build in self.builds.items()
                if self.admission(build_id) == "ready"
                and build.status == "queued"
                and architecture in (None, build.architecture)
            ),
            key=lambda build_id: self.builds[build_id].order,
        )[:batch_size]

        claimed = self.rows(
            "SELECT c.build_id, c.retry_count FROM get_next_build_for_worker(%s, 'host', %s, %s) AS c",
            worker, architecture, batch_size,
        )  # fmt: skip

        assert [(row.build_id, row.retry_count) for row in claimed] == [
            (build_id, self.builds[build_id].retry_count) for build_id in expected
        ]
        for build_id in expected:
            build = self.builds[build_id]
            build.status, build.worker, build.percent = "building", worker, 0
        return [Claim(row.build_id, worker, row.retry_count) for row in claimed]

    @rule(claims=claims, percent=some.integers(0, 100), is_fenced=some.booleans())
    def report(self, claims: list[Claim], percent: int, is_fenced: bool) -> None:
        for claim in claims:
            build = self.builds.get(claim.build)
            holds = build is not None and build.status == "building"
            if is_fenced:
                holds = holds and self.holds(claim)
            answer = self.value(
                "SELECT update_build_progress(%s, %s, 'step', 1, %s, %s)",
                claim.build, percent, *((claim.worker, claim.retry_count) if is_fenced else (None, None)),
            )  # fmt: skip
            assert answer is holds
            if build and holds:
                build.percent = percent

    @rule(claims=claims, success=some.booleans(), how_many=some.integers(1, 4))
    def complete(self, claims: list[Claim], success: bool, how_many: int) -> None:
        for claim in claims[:how_many]:
            build = self.builds.get(claim.build)
            status = "success" if success else "failed"
            result = self.value(
                "SELECT complete_build(%s, %s, %s, %s, 1)",
                claim.build, claim.worker, claim.retry_count, success,
            )  # fmt: skip
            if build and build.status == "building" and self.holds(claim):
                assert result is not None
                assert build.result in (None, result)
                build.status, build.result = status, result
                build.percent = 100 if success else build.percent
            elif build and build.status == status and self.holds(claim):
                assert result == build.result
            else:
                assert result is None

    @rule(build_id=orders)
    def cancel(self, build_id: UUID) -> None:
        build = self.builds.get(build_id)
        runs = build is not None and build.status not in ENDED
        assert self.value("SELECT cancel_build(%s, 'why')", build_id) is runs
        if build and runs:
            build.status, build.is_delayed = "cancelled", False

    @rule(build_id=orders, delay=some.sampled_from([0.0, HOUR]))
    def retry(self, build_id: UUID, delay: float) -> None:
        build = self.builds.get(build_id)
        may = (
            build is not None
            and build.status in ("failed", "timeout")
            and build.retry_count < build.max_retries
        )
        assert self.value("SELECT retry_failed_build(%s, make_interval(secs => %s))", build_id, delay) is may
        if build and may:
            build.status, build.worker, build.percent = "queued", None, 0
            build.retry_count += 1
            if delay:
                queued_at = self.value("SELECT b.queued_at FROM build_queue AS b WHERE b.id = %s", build_id)
                build.place = (queued_at - self.clock).total_seconds()
                assert delay <= build.place < delay + HOUR / 2
            build.is_delayed = build.place > 0

    @rule(claims=claims, seconds=some.sampled_from([None, 60]))
    def time_out(self, claims: list[Claim], seconds: int | None) -> None:
        column = "timeout_at" if seconds is None else "heartbeat_at"
        ids = [claim.build for claim in claims]
        expected = {
            build_id
            for build_id in ids
            if build_id in self.builds and self.builds[build_id].status == "building"
        }
        self.rows(
            f"UPDATE build_queue SET {column} = now() - interval '61 s' WHERE id = ANY (%s)"
            " AND status = 'building'",
            ids,
        )
        ended = self.rows("SELECT t.build_id, t.worker_id FROM handle_build_timeouts(%s) AS t", seconds)
        assert {(row.build_id, row.worker_id) for row in ended} == {
            (build_id, self.builds[build_id].worker) for build_id in expected
        }
        for build_id in expected:
            self.builds[build_id].status = "timeout"

    @rule(customer=some.sampled_from(CUSTOMERS[1:]), limit=some.none() | some.integers(0, 3))
    def change_limit(self, customer: str, limit: int | None) -> None:
        self.rows("UPDATE licenses SET max_concurrent_builds = %s WHERE customer_id = %s", limit, customer)
        self.limits[customer] = limit

    @rule(build_id=orders, priority=some.integers(1, 3))
    def change_priority(self, build_id: UUID, priority: int) -> None:
        self.rows("UPDATE build_queue SET priority = %s WHERE id = %s", priority, build_id)
        build = self.builds.get(build_id)
        if build:
            if build.priority != priority and build.status == "queued":
                build.is_delayed = build.place > 0
            build.priority = priority

    @rule(build_id=orders, customer=some.sampled_from(CUSTOMERS))
    def give_to(self, build_id: UUID, customer: str) -> None:
        self.rows("UPDATE build_queue SET customer_id = %s WHERE id = %s", customer, build_id)
        build = self.builds.get(build_id)
        if build:
            if build.customer != customer and build.status == "queued":
                build.is_delayed = build.place > 0
            build.customer = customer

    @rule(build_id=consumes(orders))
    def delete(self, build_id: UUID) -> None:
        self.rows("DELETE FROM build_queue WHERE id = %s", build_id)
        self.builds.pop(build_id, None)

    @rule()
    def heed_bounds(self) -> None:
        """Let claims heed their bounds, which changes nothing."""
        Queue(self.connection).heed_bounds()

    @rule()
    def let_two_hours_pass(self) -> None:
        """Move all places back, without the triggers: they are for changes that somebody makes."""
        self.rows("SET LOCAL session_replication_role = replica")
        self.rows("UPDATE build_queue SET queued_at = queued_at - interval '2 hours'")
        self.rows("SET LOCAL session_replication_role = origin")
        self.rows("SELECT raise_claim_bounds(true)")
        for build in self.builds.values():
            build.place -= 2 * HOUR

    @invariant()
    def agree(self) -> None:
        found = self.rows(
            "SELECT b.id, b.customer_id, b.status, b.admission, b.worker_id, b.retry_count,"
            " b.progress_percent, b.architecture, r.id AS result_id"
            " FROM build_queue AS b LEFT JOIN build_results AS r ON r.build_queue_id = b.id"
        )
        assert {row.id: tuple(row[1:]) for row in found} == {
            build_id: (
                build.customer, build.status, self.admission(build_id), build.worker, build.retry_count,
                build.percent, build.architecture, build.result,
            )
            for build_id, build in self.builds.items()
        }  # fmt: skip

    def holds(self, claim: Claim) -> bool:
        build = self.builds[claim.build]
        return (build.worker, build.retry_count) == (claim.worker, claim.retry_count)

    def admission(self, build_id: UUID) -> str:
        """Return where a build stands: the first ones of a customer are ready, as many as slots are left."""
        build = self.builds[build_id]
        if build.status != "queued":
            return "ready"
        if build.is_delayed:
            return "delayed"
        limit = self.limits[build.customer]
        if limit is None:
            return "ready"
        its_customers = [each for each in self.builds.values() if each.customer == build.customer]
        building = sum(each.status == "building" for each in its_customers)
        ahead = sum(
            each.status == "queued" and not each.is_delayed and each.order < build.order
            for each in its_customers
        )
        return "ready" if building + ahead < limit else "waiting"


def test_the_queue_agrees_with_its_model(connection: Connection) -> None:
    connection.autocommit = False
    run_state_machine_as_test(lambda: QueueModel(connection))  # type: ignore[arg-type]
