"""cleanup_old_build_logs(): which logs are emptied, how often, and how many at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from build_queue.driver import Queue, at_once
from builders import add_result

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID


def log(queue: Queue, days: int, stdout: str | None = "out", stderr: str | None = "err") -> UUID:
    """Add a result that is so many days old, and return its build."""
    order = queue.order()
    created_at = queue.value("SELECT now() - make_interval(days => %s)", days)
    add_result(queue.connection, order, stdout_log=stdout, stderr_log=stderr, created_at=created_at)
    return order


def clean_up(queue: Queue, *arguments: int | None) -> int:
    placeholders = ", ".join("%s" for _ in arguments)
    return int(queue.value(f"SELECT deleted_count FROM cleanup_old_build_logs({placeholders})", *arguments))


def test_logs_past_retention_are_emptied_and_the_others_stay(queue: Queue) -> None:
    old, recent = log(queue, 91), log(queue, 89)

    assert clean_up(queue, 90) == 1

    emptied, kept = queue.result(old), queue.result(recent)
    assert (emptied.stdout_log, emptied.stderr_log) == (None, None)
    assert emptied.logs_truncated_at is not None
    assert (kept.stdout_log, kept.stderr_log, kept.logs_truncated_at) == ("out", "err", None)


# Whatever the date, the clocks were changed in one of these spans.
@pytest.mark.parametrize("days", range(30, 271, 30))
def test_a_day_has_24_hours_in_every_time_zone(queue: Queue, days: int) -> None:
    for minutes in (-30, 30):
        age = "now() - %s * interval '24 hours' - %s * interval '1 minute'"
        created_at = queue.value(f"SELECT {age}", days, minutes)
        add_result(queue.connection, queue.order(), stdout_log="out", created_at=created_at)
    queue.run("SET TimeZone = 'America/New_York'")

    assert clean_up(queue, days) == 1


def test_ninety_days_are_kept_by_default(queue: Queue) -> None:
    log(queue, 91)
    log(queue, 89)

    assert clean_up(queue) == 1


def test_the_result_itself_stays(queue: Queue) -> None:
    order = log(queue, 91)
    before = queue.result(order)

    clean_up(queue)

    logs = {"stdout_log": None, "stderr_log": None, "logs_truncated_at": None}
    assert queue.result(order)._replace(**logs) == before._replace(**logs)


def test_logs_are_emptied_once(queue: Queue) -> None:
    order = log(queue, 91)
    clean_up(queue)
    emptied_at = queue.result(order).logs_truncated_at

    assert clean_up(queue) == 0
    assert queue.result(order).logs_truncated_at == emptied_at


@pytest.mark.parametrize(
    ("stdout", "stderr", "count"), [("out", None, 1), (None, "err", 1), ("", "", 1), (None, None, 0)]
)
def test_a_result_with_either_log_counts(
    queue: Queue, stdout: str | None, stderr: str | None, count: int
) -> None:
    log(queue, 91, stdout, stderr)

    assert clean_up(queue) == count


def test_the_oldest_logs_go_first_when_there_is_a_limit(queue: Queue) -> None:
    orders = [log(queue, days) for days in (93, 95, 94)]

    assert clean_up(queue, 90, 2) == 2
    assert queue.result(orders[0]).stdout_log == "out"
    assert clean_up(queue, 90, 2) == 1
    assert clean_up(queue, 90, 2) == 0


def test_logs_of_a_later_attempt_are_emptied_again(queue: Queue) -> None:
    order = queue.order()
    queue.complete(queue.claim(), success=False, p_stdout_log="first")
    queue.run("UPDATE build_results SET created_at = now() - interval '91 days'")
    clean_up(queue)
    queue.retry(order)
    queue.complete(queue.claim(), p_stdout_log="second")

    assert clean_up(queue) == 0
    queue.run("UPDATE build_results SET created_at = now() - interval '91 days'")
    assert clean_up(queue) == 1


def test_four_calls_at_once_empty_each_log_once(
    queue: Queue, connect: Callable[..., psycopg.Connection[Any]]
) -> None:
    for _ in range(20):
        log(queue, 91)
    clients = [Queue(connect()) for _ in range(4)]

    assert sum(at_once(4, lambda number: clients[number].call("cleanup_old_build_logs"))) == 20


@pytest.mark.parametrize("days", [None, 0, -1, -(2**31), 36501, 2**31 - 1])
def test_a_retention_that_makes_no_sense_is_refused_and_empties_nothing(
    queue: Queue, days: int | None
) -> None:
    order = log(queue, 91)

    with pytest.raises(
        psycopg.errors.InvalidParameterValue, match="p_retention_days must be between 1 and 36500"
    ) as refusal:
        clean_up(queue, days)

    assert refusal.value.diag.message_hint
    assert queue.result(order).stdout_log == "out"


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_of_nothing_is_refused(queue: Queue, limit: int) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="p_limit must be at least 1 or NULL"):
        clean_up(queue, 90, limit)
