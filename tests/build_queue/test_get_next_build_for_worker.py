"""get_next_build_for_worker(): who gets which build, and what a claim does to it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from build_queue.driver import Queue, at_once
from builders import MANIFEST, add_registry_credential

if TYPE_CHECKING:
    from collections.abc import Callable


def test_a_claim_starts_the_build(queue: Queue) -> None:
    order = queue.order(max_duration_seconds=600)

    claimed = queue.claim("worker-1")

    build = queue.build(order)
    assert claimed.build_id == order
    assert (build.status, build.worker_id, build.worker_hostname) == ("building", "worker-1", "host")
    assert build.started_at == build.worker_assigned_at == build.heartbeat_at == build.updated_at
    assert build.timeout_at - build.started_at == timedelta(seconds=600)


def test_a_claim_returns_what_a_worker_needs(queue: Queue) -> None:
    customer = queue.customer()
    registry = add_registry_credential(queue.connection, customer)
    order = queue.order(
        customer,
        manifest_hash="f" * 64,
        priority=7,
        build_args={"debug": True},
        target_registry_id=registry,
    )

    claimed = queue.claim()

    build = queue.build(order)
    assert claimed == (
        order,
        MANIFEST,
        customer,
        7,
        0,
        "f" * 64,
        {"debug": True},
        registry,
        build.timeout_at,
        "worker",
    )


def test_a_build_without_a_maximum_duration_gets_no_timeout(queue: Queue) -> None:
    queue.order(max_duration_seconds=None)

    assert queue.claim().timeout_at is None


def test_nothing_is_claimed_from_an_empty_queue(queue: Queue) -> None:
    assert queue.claim() is None


@pytest.mark.parametrize("status", ["building", "success", "failed", "cancelled", "timeout"])
def test_only_queued_builds_are_claimed(queue: Queue, status: str) -> None:
    queue.order(status=status)

    assert queue.claim() is None


def test_a_claimed_build_is_not_claimed_again(queue: Queue) -> None:
    queue.order()

    assert queue.claim("worker-1") is not None
    assert queue.claim("worker-2") is None


def test_builds_are_claimed_by_priority_and_then_by_age(queue: Queue) -> None:
    orders = [
        queue.order(priority=priority, queued_at=queued_at)
        for priority, queued_at in [
            (10, "2026-01-03"),
            (10, "2026-01-04"),
            (5, "2026-01-01"),
            (5, "2026-01-02"),
            (1, "2025-01-01"),
        ]
    ]

    assert [queue.claim().build_id for _ in orders] == orders


@pytest.mark.parametrize("architecture", ["amd64", "arm64"])
def test_a_worker_gets_builds_of_its_architecture_only(queue: Queue, architecture: str) -> None:
    orders = {each: queue.order(architecture=each) for each in ("arm64", "amd64")}

    assert queue.claim(architecture=architecture).build_id == orders[architecture]
    assert queue.claim(architecture=architecture) is None


def test_a_worker_without_an_architecture_gets_builds_of_all_by_priority(queue: Queue) -> None:
    orders = [
        queue.order(architecture=architecture, priority=priority)
        for architecture, priority in [("arm64", 9), ("amd64", 8), ("arm64", 7), ("amd64", 6)]
    ]

    assert [queue.claim().build_id for _ in orders] == orders
    assert queue.claim() is None


def test_a_build_ordered_with_no_architecture_is_one_for_amd64(queue: Queue) -> None:
    order = queue.order(architecture=None)

    assert queue.claim(architecture="amd64").build_id == order


def test_a_batch_is_claimed_in_order_and_no_larger_than_asked_for(queue: Queue) -> None:
    orders = [queue.order(priority=priority) for priority in (3, 9, 1, 6)]

    assert [each.build_id for each in queue.claim_many(3)] == [orders[1], orders[3], orders[0]]
    assert [each.build_id for each in queue.claim_many(3)] == [orders[2]]


def test_a_batch_for_all_architectures_is_no_larger_than_asked_for(queue: Queue) -> None:
    orders = [
        queue.order(architecture=architecture, priority=priority)
        for priority in (9, 8, 7)
        for architecture in ("amd64", "arm64")
    ]

    assert {each.build_id for each in queue.claim_many(4)} == set(orders[:4])
    assert queue.value("SELECT count(*) FROM build_queue WHERE status = 'queued'") == 2


def test_a_build_that_another_worker_is_claiming_is_passed_over(
    queue: Queue, connect: Callable[..., psycopg.Connection[Any]]
) -> None:
    first, second = queue.order(priority=9), queue.order(priority=1)
    other = Queue(connect(autocommit=False))

    assert other.claim("other").build_id == first
    assert queue.claim().build_id == second
    assert queue.claim() is None
    other.connection.rollback()
    assert queue.claim().build_id == first


def test_sixteen_workers_at_once_claim_each_build_once(
    queue: Queue, connect: Callable[..., psycopg.Connection[Any]]
) -> None:
    queue.order_many(200, queue.customer())
    workers = [Queue(connect()) for _ in range(16)]

    def claim_all(number: int) -> list[Any]:
        claimed = []
        while build := workers[number].claim(f"worker-{number}"):
            claimed.append(build.build_id)
        return claimed

    claims = [build_id for claimed in at_once(16, claim_all) for build_id in claimed]

    assert len(claims) == len(set(claims)) == 200


def test_delayed_builds_are_claimed_when_they_are_due(queue: Queue) -> None:
    order = queue.order(queued_at="2999-01-01")
    assert queue.claim() is None

    # As if the time had come: the triggers, which would see to it at once, are off.
    queue.run("SET session_replication_role = replica")
    queue.run("UPDATE build_queue SET queued_at = now() - interval '1 s'")
    queue.run("RESET session_replication_role")

    assert queue.build(order).admission == "delayed"
    assert queue.claim().build_id == order


def test_a_build_is_delayed_to_the_second(queue: Queue) -> None:
    order = queue.order(queued_at=queue.value("SELECT clock_timestamp() + interval '300 ms'"))

    assert queue.claim() is None
    queue.run("SELECT pg_sleep(0.4)")
    assert queue.claim().build_id == order


@pytest.mark.parametrize(
    ("worker_id", "architecture", "batch_size", "message"),
    [
        (None, None, 1, "p_worker_id must not be NULL"),
        ("", None, 1, "p_worker_id must not be empty"),
        ("w", "", 1, "p_architecture must be amd64, arm64 or NULL, not ''"),
        ("w", "riscv", 1, "p_architecture must be amd64, arm64 or NULL, not 'riscv'"),
        ("w", "amd64", None, "p_batch_size must be between 1 and 1000, not NULL"),
        ("w", "amd64", 0, "p_batch_size must be between 1 and 1000, not 0"),
        ("w", "amd64", -1, "p_batch_size must be between 1 and 1000, not -1"),
        ("w", "amd64", 2**31 - 1, "p_batch_size must be between 1 and 1000, not 2147483647"),
    ],
)
def test_wrong_arguments_are_refused_and_claim_nothing(
    queue: Queue, worker_id: str | None, architecture: str | None, batch_size: int | None, message: str
) -> None:
    queue.order()

    with pytest.raises(psycopg.errors.InvalidParameterValue, match=message) as refusal:
        queue.claim_many(batch_size, worker_id, architecture)

    assert refusal.value.diag.message_hint
    assert queue.claim() is not None


def test_a_worker_id_that_is_too_long_is_refused(queue: Queue) -> None:
    queue.order()

    with pytest.raises(psycopg.errors.StringDataRightTruncation):
        queue.claim("w" * 101)

    assert queue.claim("w" * 100) is not None


def test_a_build_of_the_last_allowed_retry_is_claimed(queue: Queue) -> None:
    order = queue.order(max_retries=1)
    queue.complete(queue.claim(), success=False)
    assert queue.retry(order)

    claimed = queue.claim()

    assert (claimed.build_id, claimed.retry_count) == (order, 1)
