"""admit_waiting_builds(): no build waits for ever, though nobody could admit it when a slot became free."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from build_queue.driver import Queue

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    import psycopg

    Connect = Callable[..., psycopg.Connection[Any]]


def let_a_build_miss_its_slot(queue: Queue, connect: Connect, architecture: str = "amd64") -> UUID:
    """Return a build that was locked when the slot of its customer became free."""
    customer = queue.customer(max_concurrent_builds=1)
    first = queue.order(customer, priority=10)
    missed = queue.order(customer, architecture=architecture)
    running = queue.claim()
    assert running.build_id == first
    someone = Queue(connect(autocommit=False))
    someone.run("SELECT FROM build_queue WHERE id = %s FOR UPDATE", missed)
    queue.complete(running)
    someone.connection.rollback()
    assert queue.build(missed).admission == "waiting"
    return missed


def test_a_claim_that_finds_nothing_else_finds_a_build_that_missed_its_slot(
    queue: Queue, connect: Connect
) -> None:
    missed = let_a_build_miss_its_slot(queue, connect)

    assert queue.claim().build_id == missed


def test_a_claim_for_another_architecture_admits_it_and_returns_nothing(
    queue: Queue, connect: Connect
) -> None:
    missed = let_a_build_miss_its_slot(queue, connect, "arm64")

    assert queue.claim(architecture="amd64") is None
    assert queue.build(missed).admission == "ready"


def test_maintenance_admits_it_when_no_worker_is_idle(queue: Queue, connect: Connect) -> None:
    missed = let_a_build_miss_its_slot(queue, connect)

    queue.run("SELECT admit_waiting_builds()")

    assert queue.build(missed).admission == "ready"


def test_every_customer_with_a_free_slot_is_seen_to_and_no_other(queue: Queue) -> None:
    free = [queue.customer(max_concurrent_builds=limit) for limit in (1, 2, None)]
    full = [queue.customer(max_concurrent_builds=limit) for limit in (0, 1)]
    for customer in (*free, *full):
        queue.order_many(3, customer)
    queue.run("UPDATE build_queue SET admission = 'waiting' WHERE customer_id = ANY (%s)", free)

    assert queue.value("SELECT admit_waiting_builds()") == 1 + 2 + 3

    assert [queue.admissions(each).count("ready") for each in (*free, *full)] == [1, 2, 3, 0, 1]
    assert queue.value("SELECT admit_waiting_builds()") == 0


def test_a_customer_without_a_licence_is_seen_to_though_others_have_one(queue: Queue) -> None:
    queue.customer(max_concurrent_builds=1)
    missed = queue.order(queue.customer())
    queue.run("UPDATE build_queue SET admission = 'waiting' WHERE id = %s", missed)

    assert queue.value("SELECT admit_waiting_builds()") == 1

    assert queue.build(missed).admission == "ready"


def test_a_customer_whose_licence_is_locked_is_passed_over_and_the_others_are_seen_to(
    queue: Queue, connect: Connect
) -> None:
    customers = [queue.customer(max_concurrent_builds=1) for _ in range(3)]
    missed = [queue.order(customer) for customer in customers]
    queue.run("UPDATE build_queue SET admission = 'waiting'")
    queue.run("SET lock_timeout = '200ms'")
    someone = Queue(connect(autocommit=False))
    someone.run("SELECT FROM licenses WHERE customer_id = %s FOR UPDATE", customers[1])

    assert queue.value("SELECT admit_waiting_builds()") == 2

    assert [queue.build(each).admission for each in missed] == ["ready", "waiting", "ready"]


def test_a_claim_by_an_idle_worker_costs_as_much_as_there_are_customers_not_builds(queue: Queue) -> None:
    for _ in range(3):
        customer = queue.customer()
        queue.order_many(2000, customer)
        queue.run("UPDATE build_queue SET admission = 'waiting' WHERE customer_id = %s", customer)
        queue.run(
            "INSERT INTO licenses (customer_id, license_key, license_key_hash, tier, expires_at,"
            " max_concurrent_builds) VALUES (%s, 'k', %s, 'core', '2999-01-01', 0)",
            customer,
            customer,
        )
    queue.run("VACUUM ANALYZE build_queue")

    assert queue.buffers("SELECT * FROM get_next_build_for_worker('worker', 'host')") < 100
