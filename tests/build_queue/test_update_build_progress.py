"""update_build_progress(): what a worker may report, and when it is told to stop."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import psycopg
import pytest

if TYPE_CHECKING:
    from build_queue.driver import Queue


def test_progress_is_recorded_and_counts_as_a_sign_of_life(queue: Queue) -> None:
    order = queue.order()
    claimed = queue.claim()
    queue.run("UPDATE build_queue SET heartbeat_at = now() - interval '1 hour'")

    assert queue.report(claimed, 40, "compile", p_steps_completed=2)

    build = queue.build(order)
    assert (build.progress_percent, build.current_step, build.steps_completed) == (40, "compile", 2)
    assert build.heartbeat_at > build.started_at
    assert build.updated_at == build.heartbeat_at


def test_a_step_that_is_not_given_stays_as_it_was(queue: Queue) -> None:
    order = queue.order()
    claimed = queue.claim()
    queue.report(claimed, 40, "compile", p_steps_completed=2)

    assert queue.report(claimed, 50)

    build = queue.build(order)
    assert (build.progress_percent, build.current_step, build.steps_completed) == (50, "compile", 2)


def test_a_sign_of_life_changes_nothing_else(queue: Queue) -> None:
    order = queue.order()
    claimed = queue.claim()
    queue.report(claimed, 40, "compile", p_steps_completed=2)
    before = queue.build(order)

    assert queue.report(claimed, None)

    after = queue.build(order)
    assert after.heartbeat_at > before.heartbeat_at
    times = {"heartbeat_at": None, "updated_at": None}
    assert after._replace(**times) == before._replace(**times)


@pytest.mark.parametrize("percent", [0, 100])
def test_both_ends_of_the_scale_are_progress(queue: Queue, percent: int) -> None:
    order = queue.order()

    assert queue.report(queue.claim(), percent)
    assert queue.build(order).progress_percent == percent


@pytest.mark.parametrize("percent", [-1, 101, -(2**31), 2**31 - 1])
def test_a_percentage_off_the_scale_is_refused(queue: Queue, percent: int) -> None:
    order = queue.order()
    claimed = queue.claim()

    message = f"p_progress_percent must be between 0 and 100 or NULL, not {percent}"
    with pytest.raises(psycopg.errors.InvalidParameterValue, match=message) as refusal:
        queue.report(claimed, percent, "never")

    assert refusal.value.diag.message_hint
    assert queue.build(order).current_step is None


def test_a_negative_number_of_steps_is_refused_by_its_constraint(queue: Queue) -> None:
    queue.order()

    with pytest.raises(psycopg.errors.CheckViolation) as refusal:
        queue.report(queue.claim(), 1, p_steps_completed=-1)

    assert refusal.value.diag.constraint_name == "ck_build_queue_steps_completed_range"


def test_a_step_that_is_too_long_is_refused(queue: Queue) -> None:
    queue.order()
    claimed = queue.claim()

    with pytest.raises(psycopg.errors.StringDataRightTruncation):
        queue.report(claimed, 1, "s" * 256)

    assert queue.report(claimed, 1, "s" * 255)


@pytest.mark.parametrize("status", ["queued", "success", "failed", "cancelled", "timeout"])
def test_only_a_running_build_makes_progress(queue: Queue, status: str) -> None:
    order = queue.order(status=status)

    assert not queue.call(
        "update_build_progress", p_build_id=order, p_progress_percent=50, p_current_step="compile"
    )
    assert queue.build(order).progress_percent == 0


def test_an_unknown_build_makes_no_progress(queue: Queue) -> None:
    for build_id in (uuid4(), None):
        assert not queue.call(
            "update_build_progress", p_build_id=build_id, p_progress_percent=50, p_current_step="compile"
        )


@pytest.mark.parametrize(
    "other", [{"p_worker_id": "another"}, {"p_worker_id": ""}, {"p_retry_count": 1}, {"p_retry_count": -1}]
)
def test_nobody_else_reports_on_a_build(queue: Queue, other: dict[str, object]) -> None:
    order = queue.order()
    claimed = queue.claim()

    assert not queue.report(claimed, 50, **other)
    assert queue.build(order).progress_percent == 0


def test_a_late_worker_cannot_report_on_a_build_that_was_retried(queue: Queue) -> None:
    order = queue.order()
    late = queue.claim("worker-1")
    queue.let_time_out(order)
    assert not queue.report(late, 50)
    queue.retry(order)
    assert not queue.report(late, 50)
    current = queue.claim("worker-1")

    assert not queue.report(late, 50)

    assert queue.build(order).progress_percent == 0
    assert queue.report(current, 60)
    assert queue.build(order).progress_percent == 60


def test_a_caller_that_gives_no_worker_reports_for_whoever_holds_the_build(queue: Queue) -> None:
    order = queue.order()
    queue.claim()

    assert queue.value("SELECT update_build_progress(%s, 50, 'compile')", order)
    assert queue.build(order).current_step == "compile"
