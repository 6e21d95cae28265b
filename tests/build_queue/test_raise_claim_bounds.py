"""raise_claim_bounds(): claims don't pass over what vacuum can't remove, and lose no build for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from build_queue.driver import Queue

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

    Connect = Callable[..., psycopg.Connection[Any]]

CLAIM = "SELECT * FROM get_next_build_for_worker('worker', 'host', %s)"


def hold_a_snapshot(connect: Connect) -> psycopg.Connection[Any]:
    holder = connect(autocommit=False)
    holder.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    holder.execute("SELECT count(*) FROM build_queue")
    return holder


def test_claims_stay_cheap_while_a_snapshot_is_held(queue: Queue, connect: Connect) -> None:
    queue.order_many(3100, queue.customer())
    hold_a_snapshot(connect)
    before = queue.buffers(CLAIM % "'amd64'")
    for _ in range(3):
        queue.claim_many(1000)
    queue.claim()

    assert queue.heeds_bounds()
    assert queue.buffers(CLAIM % "'amd64'") < before + 100
    assert queue.buffers(CLAIM % "NULL") < before + 150


def test_claims_heed_no_bounds_while_there_is_little_to_pass_over(queue: Queue, connect: Connect) -> None:
    queue.order_many(500, queue.customer())
    hold_a_snapshot(connect)
    queue.claim_many(400)
    queue.claim()

    assert not queue.heeds_bounds()


def test_bounds_are_given_up_when_the_entries_are_gone(queue: Queue, connect: Connect) -> None:
    queue.order_many(2100, queue.customer())
    holder = hold_a_snapshot(connect)
    for _ in range(2):
        queue.claim_many(1000)
    queue.claim()
    assert queue.heeds_bounds()
    queue.look_again_in(-0.001)
    queue.claim()
    assert queue.heeds_bounds()

    holder.rollback()
    queue.run("VACUUM build_queue")
    queue.look_again_in(-0.001)
    queue.claim()

    assert not queue.heeds_bounds()


def test_claims_heed_bounds_while_vacuum_has_not_come_and_many_pages_are_of_builds_that_are_gone(
    queue: Queue,
) -> None:
    customer = queue.customer()
    queue.run("SET session_replication_role = replica")
    queue.order_many(25_000, customer, "architecture", "'amd64'")
    queue.run("DELETE FROM build_queue")
    queue.run("SET session_replication_role = origin")
    for _ in range(10):
        queue.order(customer)
    queue.claim()  # and marks the entries as dead, so that no claim looks at their rows again
    queue.run("SELECT setval('claim_bounds_due_at', 1)")

    queue.claim()
    assert queue.heeds_bounds()
    assert queue.buffers(CLAIM % "'amd64'") < 100

    queue.look_again_in(-0.001)
    queue.claim()
    assert queue.heeds_bounds()
    queue.run("VACUUM build_queue")
    queue.look_again_in(-0.001)
    queue.claim()
    assert not queue.heeds_bounds()


def test_each_priority_of_an_architecture_has_the_time_of_its_oldest_build(queue: Queue) -> None:
    for architecture, priority in (("amd64", 1), ("amd64", 7), ("arm64", 10)):
        for month in (3, 2):
            queue.order(architecture=architecture, priority=priority, queued_at=f"2020-0{month}-01Z")

    queue.run("SELECT raise_claim_bounds(true)")

    bounds = queue.rows(
        "SELECT architecture, priority"
        " FROM unnest('{amd64,arm64}'::varchar[]) AS architecture, generate_series(1, 10) AS priority"
        " WHERE claim_bound(architecture, priority) = '2020-02-01Z'"
    )
    assert set(bounds) == {("amd64", 1), ("amd64", 7), ("arm64", 10)}


def test_bounds_of_one_architecture_can_be_raised_alone(queue: Queue) -> None:
    queue.run("SELECT raise_claim_bounds(false, 'arm64')")

    assert queue.value("SELECT claim_bound('amd64', 5) = '-infinity'")
    assert queue.value("SELECT claim_bound('arm64', 5) > now() - interval '1 minute'")


def test_a_build_whose_claim_is_rolled_back_is_found_again(queue: Queue, connect: Connect) -> None:
    oldest = queue.order(queued_at="2020-01-01")
    queue.order(queued_at="2020-01-02")
    other = Queue(connect(autocommit=False))
    assert other.claim().build_id == oldest
    queue.heed_bounds()
    other.connection.rollback()

    assert queue.claim().build_id == oldest


def test_builds_that_wait_or_are_delayed_or_ended_hold_no_bound_down(queue: Queue) -> None:
    queue.order(queue.customer(max_concurrent_builds=0), queued_at="2020-01-01")
    queue.order(queued_at="2020-01-01", status="success")
    queue.order(queued_at="2999-01-01")

    queue.run("SELECT raise_claim_bounds(true)")

    assert queue.value("SELECT claim_bound('amd64', 5) > now() - interval '1 minute'")


def let_an_order_be_late(queue: Queue, connect: Connect) -> Any:
    """Return a build that was committed when the bound had passed its time."""
    late = Queue(connect(autocommit=False))
    build = late.order(queue.customer(), queued_at="2020-01-01")
    queue.heed_bounds()
    late.connection.commit()
    assert queue.value("SELECT claim_bound('amd64', 5) > '2020-01-01'")
    return build


def test_an_order_that_is_committed_late_is_found_when_there_is_nothing_else(
    queue: Queue, connect: Connect
) -> None:
    late = let_an_order_be_late(queue, connect)

    assert queue.claim().build_id == late


def test_an_order_that_is_committed_late_is_found_when_the_time_has_come(
    queue: Queue, connect: Connect
) -> None:
    late = let_an_order_be_late(queue, connect)
    newer = [queue.order(), queue.order()]

    assert queue.claim().build_id == newer[0]
    queue.look_again_in(-0.001)
    assert queue.claim().build_id == late
    assert queue.claim().build_id == newer[1]


def test_it_is_found_too_when_the_clock_was_set_back(queue: Queue, connect: Connect) -> None:
    late = let_an_order_be_late(queue, connect)
    queue.order()

    queue.look_again_in(3600)

    assert queue.claim().build_id == late


def test_an_older_snapshot_raises_nothing(queue: Queue, connect: Connect) -> None:
    repeatable = hold_a_snapshot(connect)
    queue.order(queued_at="2020-01-01")

    repeatable.execute("SELECT raise_claim_bounds(true)")

    assert queue.value("SELECT claim_bound('amd64', 5) = '-infinity'")
    assert not queue.heeds_bounds()


def test_bounds_are_found_anew_no_later_than_in_a_minute(queue: Queue, connect: Connect) -> None:
    queue.order_many(1100, queue.customer())
    hold_a_snapshot(connect)
    queue.claim_many(1000)
    queue.claim_many(50)
    queue.run("SELECT raise_claim_bounds(true)")

    due_in = "SELECT last_value - extract(epoch FROM clock_timestamp()) * 1000000 FROM claim_bounds_due_at"
    assert 0 < queue.value(due_in) < 60_000_000
