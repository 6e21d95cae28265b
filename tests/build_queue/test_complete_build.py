"""complete_build(): a build ends once, for the worker and attempt that hold it, with its result."""

from __future__ import annotations

import threading
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
import pytest

from build_queue.driver import Queue, at_once, wait_until_blocked
from builders import add_artifact, add_cache_entry

if TYPE_CHECKING:
    from collections.abc import Callable

    Connect = Callable[..., psycopg.Connection[Any]]


@pytest.mark.parametrize(("success", "status", "percent"), [(True, "success", 100), (False, "failed", 40)])
def test_status_and_result_are_recorded_together(
    queue: Queue, success: bool, status: str, percent: int
) -> None:
    order = queue.order()
    claimed = queue.claim()
    queue.report(claimed, 40)

    result_id = queue.complete(claimed, success)

    build, result = queue.build(order), queue.result(order)
    assert (build.status, build.progress_percent) == (status, percent)
    assert build.completed_at == build.updated_at == result.created_at
    assert (result.id, result.success, result.actual_duration_seconds) == (result_id, success, 480)


def test_every_detail_of_the_result_is_recorded(queue: Queue) -> None:
    order = queue.order()
    details = {
        "exit_code": 0,
        "stdout_log": "done",
        "stderr_log": "a warning",
        "error_message": "none",
        "error_code": "E0",
        "peak_memory_mb": 512,
        "peak_cpu_percent": Decimal("180.50"),
        "disk_usage_mb": 2048,
        "total_layers": 12,
        "cache_layers_used": 8,
        "new_layers_built": 4,
        "final_image_size_bytes": 2**40,
        "image_digest": "sha256:" + "a" * 64,
        "image_tags": ["1.0", "latest"],
        "pushed_to_registry": True,
        "push_duration_seconds": Decimal("12.25"),
        "build_cache_id": add_cache_entry(queue.connection),
    }

    queue.complete(queue.claim(), **{f"p_{name}": value for name, value in details.items()})

    result = queue.result(order)
    assert {name: getattr(result, name) for name in details} == details


def test_details_that_are_not_given_are_unknown_and_nothing_was_pushed(queue: Queue) -> None:
    order = queue.order()

    queue.complete(queue.claim())

    result = queue.result(order)
    assert result.pushed_to_registry is False
    assert (result.exit_code, result.stdout_log, result.image_tags, result.build_cache_id) == (None,) * 4


def test_the_same_call_again_returns_the_same_result_and_changes_nothing(queue: Queue) -> None:
    order = queue.order()
    claimed = queue.claim()
    result_id = queue.complete(claimed, p_stdout_log="first")
    build, result = queue.build(order), queue.result(order)

    assert queue.complete(claimed, p_stdout_log="second") == result_id

    assert (queue.build(order), queue.result(order)) == (build, result)


def test_each_of_a_workers_builds_is_answered_again_with_its_own_result(queue: Queue) -> None:
    for _ in range(3):
        queue.order()
    claims = queue.claim_many(3)
    results = [queue.complete(claimed) for claimed in claims]
    assert len(set(results)) == 3

    assert [queue.complete(claimed) for claimed in claims] == results


def test_nobody_else_is_told_the_result(queue: Queue) -> None:
    queue.order()
    claimed = queue.claim("worker-1")
    queue.complete(claimed)

    assert queue.complete(claimed, p_worker_id="worker-2") is None


def test_a_call_for_an_earlier_attempt_is_not_told_the_result_of_the_last(queue: Queue) -> None:
    order = queue.order()
    first = queue.claim()
    queue.complete(first, success=False)
    queue.retry(order)
    second = queue.claim()
    result_id = queue.complete(second, success=False)

    assert queue.complete(first, success=False) is None
    assert queue.complete(second, success=False) == result_id


def test_sixteen_equal_calls_at_once_make_one_result(queue: Queue, connect: Connect) -> None:
    order = queue.order()
    claimed = queue.claim()
    clients = [Queue(connect()) for _ in range(16)]

    results = at_once(16, lambda number: clients[number].complete(claimed))

    assert set(results) == {queue.result(order).id}
    assert queue.value("SELECT count(*) FROM build_results") == 1


def test_the_outcome_of_a_completed_build_cannot_be_changed(queue: Queue) -> None:
    order = queue.order()
    claimed = queue.claim()
    queue.complete(claimed, success=True)

    assert queue.complete(claimed, success=False) is None
    assert queue.build(order).status == "success"
    assert queue.result(order).success


@pytest.mark.parametrize(
    "other",
    [
        {"p_worker_id": "another"},
        {"p_worker_id": ""},
        {"p_worker_id": None},
        {"p_retry_count": 1},
        {"p_retry_count": -1},
        {"p_retry_count": None},
        {"p_build_id": None},
        {"p_build_id": uuid4()},
    ],
)
def test_nobody_else_completes_a_build(queue: Queue, other: dict[str, object]) -> None:
    order = queue.order()
    claimed = queue.claim()

    assert queue.complete(claimed, **other) is None

    assert queue.build(order).status == "building"
    assert queue.result(order) is None


def test_a_late_worker_cannot_complete_a_build_that_timed_out(queue: Queue) -> None:
    order = queue.order()
    late = queue.claim()
    queue.let_time_out(order)

    assert queue.complete(late) is None
    assert queue.build(order).status == "timeout"
    assert queue.result(order) is None


def test_a_late_worker_cannot_complete_a_build_that_was_retried(queue: Queue) -> None:
    order = queue.order()
    late = queue.claim("worker-1")
    queue.let_time_out(order)
    queue.retry(order)
    assert queue.complete(late) is None
    current = queue.claim("worker-1")

    assert queue.complete(late) is None

    assert queue.build(order).status == "building"
    result_id = queue.complete(current, success=False)
    assert queue.complete(late) is None
    assert queue.result(order).id == result_id
    assert not queue.result(order).success


def test_a_worker_cannot_complete_a_build_that_was_cancelled(queue: Queue) -> None:
    order = queue.order()
    late = queue.claim()
    queue.cancel(order)

    assert queue.complete(late) is None
    assert queue.build(order).status == "cancelled"
    assert queue.result(order) is None


def test_a_worker_cannot_complete_a_build_that_was_deleted(queue: Queue) -> None:
    order = queue.order()
    late = queue.claim()
    queue.run("DELETE FROM build_queue WHERE id = %s", order)

    assert queue.complete(late) is None


def test_a_worker_whose_time_is_up_completes_as_long_as_nobody_ended_the_build(queue: Queue) -> None:
    order = queue.order()
    claimed = queue.claim()
    queue.run("UPDATE build_queue SET timeout_at = now() - interval '1 hour'")

    assert queue.complete(claimed)
    assert queue.rows("SELECT * FROM handle_build_timeouts()") == []
    assert queue.build(order).status == "success"


def test_a_completion_that_waits_for_a_cancellation_changes_nothing(queue: Queue, connect: Connect) -> None:
    order = queue.order()
    claimed = queue.claim()
    canceller = Queue(connect(autocommit=False))
    canceller.cancel(order)
    outcome: list[Any] = []
    completion = threading.Thread(target=lambda: outcome.append(queue.complete(claimed)))

    completion.start()
    wait_until_blocked(canceller)
    canceller.connection.commit()
    completion.join()

    assert outcome == [None]
    assert queue.build(order).status == "cancelled"


def test_the_result_of_a_retry_replaces_that_of_the_attempt_before(queue: Queue) -> None:
    order = queue.order()
    failed = queue.complete(queue.claim(), success=False, p_error_code="E1", p_stderr_log="no space")
    queue.run("UPDATE build_results SET logs_truncated_at = now()")
    queue.retry(order)

    succeeded = queue.complete(queue.claim(), success=True)

    result = queue.result(order)
    assert failed == succeeded == result.id
    assert (result.success, result.error_code, result.stderr_log) == (True, None, None)
    assert result.logs_truncated_at is None


def test_an_artifact_can_be_added_to_the_result_that_is_returned(queue: Queue) -> None:
    queue.order()

    assert add_artifact(queue.connection, queue.complete(queue.claim()))


@pytest.mark.parametrize("name", ["p_success", "p_actual_duration_seconds"])
def test_a_completion_needs_an_outcome_and_a_duration(queue: Queue, name: str) -> None:
    order = queue.order()

    with pytest.raises(psycopg.errors.NullValueNotAllowed, match=f"{name} must not be NULL") as refusal:
        queue.complete(queue.claim(), **{name: None})

    assert refusal.value.diag.message_hint
    assert queue.build(order).status == "building"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("actual_duration_seconds", -1),
        ("actual_duration_seconds", Decimal("NaN")),
        ("peak_memory_mb", -1),
        ("peak_cpu_percent", -1),
        ("peak_cpu_percent", Decimal("NaN")),
        ("disk_usage_mb", -1),
        ("total_layers", -1),
        ("cache_layers_used", -1),
        ("new_layers_built", -1),
        ("final_image_size_bytes", -1),
        ("push_duration_seconds", Decimal("NaN")),
    ],
)
def test_a_value_out_of_its_range_is_refused_and_the_build_runs_on(
    queue: Queue, name: str, value: object
) -> None:
    order = queue.order()

    with pytest.raises(psycopg.errors.CheckViolation) as refusal:
        queue.complete(queue.claim(), **{f"p_{name}": value})

    assert refusal.value.diag.constraint_name == f"ck_build_results_{name}_range"
    assert queue.build(order).status == "building"


@pytest.mark.parametrize("value", [Decimal("Infinity"), Decimal(10) ** 8])
def test_a_duration_that_does_not_fit_is_refused(queue: Queue, value: Decimal) -> None:
    order = queue.order()

    with pytest.raises(psycopg.errors.NumericValueOutOfRange):
        queue.complete(queue.claim(), p_actual_duration_seconds=value)

    assert queue.build(order).status == "building"


def test_an_unknown_cache_entry_is_refused(queue: Queue) -> None:
    order = queue.order()

    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        queue.complete(queue.claim(), p_build_cache_id=uuid4())

    assert queue.build(order).status == "building"


def test_a_log_of_ten_megabytes_is_kept_whole(queue: Queue) -> None:
    order = queue.order()
    log = "0123456789" * 1_000_000

    queue.complete(queue.claim(), p_stdout_log=log)

    assert queue.result(order).stdout_log == log


def test_a_worker_ends_a_build_and_claims_the_next_in_one_statement_though_it_waited_for_the_slot(
    queue: Queue,
) -> None:
    customer = queue.customer(max_concurrent_builds=1)
    first, second = queue.order(customer), queue.order(customer)
    claimed = queue.claim()
    both = """
        SELECT completed.result_id, next.build_id
        FROM (SELECT complete_build(%s, 'worker', %s, true, 480) AS result_id) AS completed
        LEFT JOIN get_next_build_for_worker('worker', 'host', 'amd64') AS next ON true
    """

    [end_of_first] = queue.rows(both, first, claimed.retry_count)
    [end_of_second] = queue.rows(both, second, 0)

    assert end_of_first == (queue.result(first).id, second)
    assert end_of_second == (queue.result(second).id, None)
