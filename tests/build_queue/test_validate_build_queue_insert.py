"""validate_build_queue_insert(): licence states and the monthly quota, to the build and to the instant."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from build_queue.driver import Queue, at_once, until_serialized, wait_until_blocked
from builders import add_license

if TYPE_CHECKING:
    from collections.abc import Callable

    Connect = Callable[..., psycopg.Connection[Any]]

NOW = datetime.now(UTC)
YESTERDAY, TOMORROW = NOW - timedelta(days=1), NOW + timedelta(days=1)
LONG_AGO = NOW - timedelta(days=400)


def refused(queue: Queue, customer: str, constraint: str, **columns: Any) -> str:
    """Order a build that must be refused by a rule, and return the message."""
    with pytest.raises(psycopg.errors.CheckViolation) as refusal:
        queue.order(customer, **columns)
    diagnostics = refusal.value.diag
    assert (diagnostics.constraint_name, diagnostics.table_name) == (constraint, "licenses")
    assert diagnostics.message_hint
    assert diagnostics.message_primary
    return diagnostics.message_primary


def test_a_customer_without_a_licence_is_not_limited(queue: Queue) -> None:
    customer = queue.customer()

    queue.order_many(200, customer)

    assert len(queue.claim_many(1000)) == 200


@pytest.mark.parametrize("status", ["active", "trial"])
def test_an_active_or_trial_licence_allows_builds(queue: Queue, status: str) -> None:
    customer = queue.customer()
    add_license(queue.connection, customer, status=status)

    assert queue.order(customer)


@pytest.mark.parametrize("status", ["expired", "revoked"])
def test_an_expired_or_revoked_licence_allows_none(queue: Queue, status: str) -> None:
    customer = queue.customer()
    add_license(queue.connection, customer, status=status)

    message = refused(queue, customer, "license_allows_builds")

    assert message == f"licence of customer {customer} is {status}"


@pytest.mark.parametrize(
    ("status", "expires_at", "trial_expires_at", "allowed"),
    [
        ("active", TOMORROW, None, True),
        ("active", YESTERDAY, None, False),
        ("active", TOMORROW, YESTERDAY, True),
        ("trial", TOMORROW, None, True),
        ("trial", YESTERDAY, None, False),
        ("trial", TOMORROW, YESTERDAY, False),
        ("trial", YESTERDAY, TOMORROW, True),
    ],
)
def test_a_trial_ends_at_its_own_end_where_it_has_one(
    queue: Queue, status: str, expires_at: datetime, trial_expires_at: datetime | None, allowed: bool
) -> None:
    customer = queue.customer(
        status=status, issued_at=LONG_AGO, expires_at=expires_at, trial_expires_at=trial_expires_at
    )

    if allowed:
        assert queue.order(customer)
    else:
        message = refused(queue, customer, "license_allows_builds")
        assert message.startswith(f"licence of customer {customer} expired at ")


def test_a_licence_that_ends_within_the_transaction_allows_nothing_more(
    queue: Queue, connect: Callable[..., psycopg.Connection[Any]]
) -> None:
    soon = datetime.now(UTC) + timedelta(milliseconds=500)
    customer = queue.customer(issued_at=LONG_AGO, expires_at=soon)
    client = Queue(connect(autocommit=False))
    client.order(customer)
    client.run("SELECT pg_sleep(0.6)")

    refused(client, customer, "license_allows_builds")


def test_builds_up_to_the_monthly_quota_are_accepted(queue: Queue) -> None:
    customer = queue.customer(max_builds_per_month=3)
    for _ in range(3):
        queue.order(customer)

    message = refused(queue, customer, "max_builds_per_month")

    assert message == f"customer {customer} has used its quota of 3 builds for the month {NOW:%Y-%m}"


def test_a_quota_of_nothing_allows_nothing(queue: Queue) -> None:
    refused(queue, queue.customer(max_builds_per_month=0), "max_builds_per_month")


def test_an_insert_of_many_rows_is_accepted_up_to_the_quota_and_refused_whole_beyond(queue: Queue) -> None:
    customer = queue.customer(max_builds_per_month=5)

    with pytest.raises(psycopg.errors.CheckViolation):
        queue.order_many(6, customer, "created_at", "now()")
    assert queue.value("SELECT count(*) FROM build_queue") == 0
    queue.order_many(5, customer)
    refused(
        queue,
        customer,
        "max_builds_per_month",
        queued_at=queue.value("SELECT max(queued_at) FROM build_queue"),
    )


@pytest.mark.parametrize("time_zone", ["Pacific/Kiritimati", "Pacific/Pago_Pago", "UTC"])
def test_the_month_is_the_one_in_utc_whatever_the_time_zone_of_the_session(
    queue: Queue, time_zone: str
) -> None:
    queue.run("SELECT set_config('TimeZone', %s, false)", time_zone)
    customer = queue.customer(max_builds_per_month=1)
    queue.order(customer, queued_at="2026-01-31 23:59:59.999999+00")
    queue.order(customer, queued_at="2026-02-01 00:00:00+00")
    queue.order(customer, queued_at="2026-03-01 00:00:00+00")

    for queued_at, month in [
        ("2026-01-01 00:00:00+00", "2026-01"),
        ("2026-02-01 00:00:00+00", "2026-02"),
        ("2026-02-28 23:59:59.999999+00", "2026-02"),
        ("2026-03-31 23:59:59.999999+00", "2026-03"),
    ]:
        assert refused(queue, customer, "max_builds_per_month", queued_at=queued_at).endswith(month)
    assert queue.order(customer, queued_at="2025-12-31 23:59:59.999999+00")
    assert queue.order(customer, queued_at="2026-04-01 00:00:00+00")


@pytest.mark.parametrize("status", ["building", "success", "failed", "cancelled", "timeout"])
def test_builds_count_whatever_became_of_them(queue: Queue, status: str) -> None:
    customer = queue.customer(max_builds_per_month=1)
    queue.order(customer, status=status)

    refused(queue, customer, "max_builds_per_month")


def test_builds_of_other_customers_do_not_count(queue: Queue) -> None:
    customer = queue.customer(max_builds_per_month=1)
    queue.order(queue.customer(max_builds_per_month=1))

    assert queue.order(customer)


def test_a_retry_does_not_count_again(queue: Queue) -> None:
    customer = queue.customer(max_builds_per_month=2)
    order = queue.order(customer)
    for _ in range(3):
        queue.complete(queue.claim(), success=False)
        assert queue.retry(order)

    assert queue.order(customer)
    refused(queue, customer, "max_builds_per_month")


def test_a_delayed_retry_of_an_earlier_month_does_not_count_in_the_month_it_moves_to(queue: Queue) -> None:
    customer = queue.customer(max_builds_per_month=1)
    order = queue.order(customer, queued_at="2026-01-15", created_at="2026-01-15")
    queue.complete(queue.claim(), success=False)
    queue.retry(order, "1 us")

    assert queue.order(customer)
    refused(queue, customer, "max_builds_per_month")


def test_the_same_order_sent_twice_is_answered_by_its_key_at_the_edge_of_the_quota(queue: Queue) -> None:
    customer = queue.customer(max_builds_per_month=1)
    queue.order(customer, idempotency_key="order-1")

    with pytest.raises(psycopg.errors.UniqueViolation) as refusal:
        queue.order(customer, idempotency_key="order-1")

    assert refusal.value.diag.constraint_name == "uq_build_queue_idempotency_key"
    refused(queue, customer, "max_builds_per_month", idempotency_key="order-2")


def test_the_same_key_of_another_customer_is_another_order(queue: Queue) -> None:
    for _ in range(2):
        assert queue.order(queue.customer(max_builds_per_month=1), idempotency_key="order-1")


def test_the_key_of_another_customers_order_is_no_way_around_the_quota(queue: Queue) -> None:
    queue.order(idempotency_key="order-1")
    customer = queue.customer(max_builds_per_month=0)

    refused(queue, customer, "max_builds_per_month", idempotency_key="order-1")


@pytest.mark.parametrize("theirs", [True, False])
@pytest.mark.parametrize(
    "other", [{"status": "success"}, {"queued_at": TOMORROW}, {"status": "queued"}, {"status": "building"}]
)
def test_an_order_for_which_a_slot_is_free_is_ready_at_once_and_written_once(
    queue: Queue, other: dict[str, Any], theirs: bool
) -> None:
    customer, another = queue.customer(max_concurrent_builds=1), queue.customer()
    queue.order(another if theirs else customer, **other)

    build = queue.build(queue.order(customer))

    takes_the_slot = not theirs and other.get("status") in ("queued", "building")
    assert build.admission == ("waiting" if takes_the_slot else "ready")
    assert build.updated_at == build.created_at


def test_the_key_of_a_build_that_is_just_being_deleted_is_no_way_around_the_limits(
    queue: Queue, connect: Connect
) -> None:
    customer = queue.customer(max_concurrent_builds=1)
    ended = queue.order(customer, idempotency_key="order-1", status="success")
    queue.order(customer)
    deleting = connect(autocommit=False)
    deleting.execute("DELETE FROM build_queue WHERE id = %s", [ended])
    with ThreadPoolExecutor() as pool:
        ordered = pool.submit(queue.order, customer, idempotency_key="order-1")
        wait_until_blocked(Queue(deleting))
        deleting.commit()

    assert queue.build(ordered.result()).admission == "waiting"


def test_one_order_sent_sixteen_times_at_once_is_queued_once(queue: Queue, connect: Connect) -> None:
    customer = queue.customer(max_builds_per_month=1, max_concurrent_builds=1)
    clients = [Queue(connect()) for _ in range(16)]

    def order(number: int) -> str:
        try:
            clients[number].order(customer, idempotency_key="order-1")
        except psycopg.errors.UniqueViolation:
            return "known"
        return "queued"

    outcomes = at_once(16, order)

    assert sorted(outcomes) == ["known"] * 15 + ["queued"]
    assert queue.value("SELECT count(*) FROM build_queue") == 1


@pytest.mark.parametrize("isolation", ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"])
def test_sixteen_clients_at_once_get_exactly_the_quota(
    queue: Queue, connect: Connect, isolation: str
) -> None:
    customer = queue.customer(max_builds_per_month=20)
    queue.order_many(10, customer, "created_at", "now()")
    queue.run("UPDATE build_queue SET queued_at = now()")
    clients = [Queue(connect()) for _ in range(16)]
    for client in clients:
        client.run("SELECT set_config('default_transaction_isolation', %s, false)", isolation.lower())

    def order(number: int) -> int:
        accepted = 0
        with suppress(psycopg.errors.CheckViolation):
            while until_serialized(clients[number].order, customer):
                accepted += 1
        return accepted

    assert sum(at_once(16, order)) == 10
    assert queue.value("SELECT count(*) FROM build_queue") == 20


def test_counting_stops_at_the_quota(queue: Queue) -> None:
    customer = queue.customer()
    queue.order_many(5000, customer, "created_at", "now()")
    queue.run("UPDATE build_queue SET queued_at = now()")
    add_license(queue.connection, customer, max_builds_per_month=10, max_concurrent_builds=None)
    queue.run("VACUUM ANALYZE build_queue")
    entries_read = "SELECT pg_stat_get_tuples_returned('ix_build_queue_customer_id'::regclass)"
    before = queue.value(entries_read)

    refused(queue, customer, "max_builds_per_month")

    queue.run("SELECT pg_stat_force_next_flush()")
    assert queue.value(entries_read) - before <= 20


@pytest.mark.parametrize(
    ("columns", "error", "constraint"),
    [
        ({"customer_id": "nobody"}, psycopg.errors.ForeignKeyViolation, "fk_build_queue_customer_id"),
        ({"status": "bogus"}, psycopg.errors.CheckViolation, "ck_build_queue_status_allowed"),
        ({"architecture": "riscv"}, psycopg.errors.CheckViolation, "ck_build_queue_architecture_allowed"),
        ({"priority": 0}, psycopg.errors.CheckViolation, "ck_build_queue_priority_range"),
        ({"priority": 11}, psycopg.errors.CheckViolation, "ck_build_queue_priority_range"),
        (
            {"max_duration_seconds": 0},
            psycopg.errors.CheckViolation,
            "ck_build_queue_max_duration_seconds_range",
        ),
        ({"max_retries": -1}, psycopg.errors.CheckViolation, "ck_build_queue_max_retries_range"),
        ({"queued_at": None}, psycopg.errors.NotNullViolation, None),
        ({"priority": None}, psycopg.errors.NotNullViolation, None),
        ({"status": None}, psycopg.errors.NotNullViolation, None),
        ({"manifest_hash": "f" * 65}, psycopg.errors.StringDataRightTruncation, None),
    ],
)
def test_a_wrong_order_is_refused_by_the_rule_that_it_breaks(
    queue: Queue, columns: dict[str, Any], error: type[psycopg.Error], constraint: str | None
) -> None:
    customer = queue.customer(max_builds_per_month=5, max_concurrent_builds=5)

    with pytest.raises(error) as refusal:
        queue.order(**({"customer_id": customer} | columns))

    assert refusal.value.diag.constraint_name == constraint
