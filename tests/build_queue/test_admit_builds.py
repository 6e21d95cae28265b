"""admit_builds() and what calls it: max_concurrent_builds holds however a build comes, goes or changes."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from build_queue.driver import Queue, at_once, until_serialized, wait_until_blocked
from builders import add_license

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    import psycopg

    Connect = Callable[..., psycopg.Connection[Any]]


def test_builds_beyond_the_limit_wait(queue: Queue) -> None:
    customer = queue.customer(max_concurrent_builds=2)
    for _ in range(4):
        queue.order(customer)

    assert queue.admissions(customer) == ["ready", "ready", "waiting", "waiting"]
    assert len(queue.claim_many(10)) == 2


def test_a_limit_of_nothing_lets_nothing_be_claimed(queue: Queue) -> None:
    customer = queue.customer(max_concurrent_builds=0)
    queue.order(customer)

    assert queue.claim() is None


def test_an_insert_of_many_rows_is_admitted_up_to_the_limit(queue: Queue) -> None:
    customer = queue.customer(max_concurrent_builds=3)

    queue.order_many(10, customer)

    assert queue.admissions(customer) == ["ready"] * 3 + ["waiting"] * 7


def test_an_insert_of_many_rows_admits_those_of_the_highest_priority(queue: Queue) -> None:
    customer = queue.customer(max_concurrent_builds=3)

    queue.order_many(10, customer, "priority", "n")

    assert [claimed.priority for claimed in queue.claim_many(10)] == [10, 9, 8]


def test_the_limit_of_one_customer_is_nobody_elses(queue: Queue) -> None:
    limited, other, unlimited = (
        queue.customer(max_concurrent_builds=1),
        queue.customer(max_concurrent_builds=2),
        queue.customer(),
    )
    for customer in (limited, other, unlimited):
        queue.order_many(3, customer)

    claimed = Counter(each.customer_id for each in queue.claim_many(10))

    assert claimed == {limited: 1, other: 2, unlimited: 3}


def test_the_next_build_is_the_one_of_the_highest_priority_and_then_the_oldest(
    queue: Queue,
) -> None:
    customer = queue.customer(max_concurrent_builds=1)
    queue.order(customer, priority=10)
    first = queue.claim()
    orders = [
        queue.order(customer, priority=priority, queued_at=queued_at)
        for priority, queued_at in [(5, "2026-01-02"), (5, "2026-01-01"), (9, "2026-01-03")]
    ]
    claims = []
    while first:
        queue.complete(first)
        first = queue.claim()
        claims.append(first and first.build_id)

    assert claims == [orders[2], orders[1], orders[0], None]


def complete(queue: Queue, build: Any) -> None:
    assert queue.complete(build)


def fail(queue: Queue, build: Any) -> None:
    assert queue.complete(build, success=False)


def cancel(queue: Queue, build: Any) -> None:
    assert queue.cancel(build.build_id)


def time_out(queue: Queue, build: Any) -> None:
    assert queue.let_time_out(build.build_id)


def delete(queue: Queue, build: Any) -> None:
    queue.run("DELETE FROM build_queue WHERE id = %s", build.build_id)


def end_by_plain_sql(queue: Queue, build: Any) -> None:
    queue.run("UPDATE build_queue SET status = 'failed' WHERE id = %s", build.build_id)


def give_to_another_customer(queue: Queue, build: Any) -> None:
    queue.run("UPDATE build_queue SET customer_id = %s WHERE id = %s", queue.customer(), build.build_id)


def delay(queue: Queue, build: Any) -> None:
    queue.run(
        "UPDATE build_queue SET status = 'queued', queued_at = '2999-01-01' WHERE id = %s", build.build_id
    )


ENDS = [complete, fail, cancel, time_out, delete, end_by_plain_sql, give_to_another_customer, delay]


@pytest.mark.parametrize("end", ENDS)
def test_the_next_build_may_be_claimed_when_a_running_one_ends(
    queue: Queue, end: Callable[[Queue, Any], None]
) -> None:
    customer = queue.customer(max_concurrent_builds=1)
    queue.order(customer)
    waiting = queue.order(customer)
    running = queue.claim()
    assert queue.claim() is None

    end(queue, running)

    assert queue.claim().build_id == waiting
    assert queue.claim() is None


@pytest.mark.parametrize("end", [cancel, delete, end_by_plain_sql, give_to_another_customer, delay])
def test_the_next_build_may_be_claimed_when_one_that_was_ready_leaves_the_queue(
    queue: Queue, end: Callable[[Queue, Any], None]
) -> None:
    customer = queue.customer(max_concurrent_builds=1)
    ready, waiting = queue.order(customer), queue.order(customer)

    end(queue, queue.row("SELECT id AS build_id FROM build_queue WHERE id = %s", ready))

    assert queue.build(waiting).admission == "ready"


@pytest.mark.parametrize("end", [cancel, delete, end_by_plain_sql, give_to_another_customer, delay])
def test_nothing_changes_for_the_others_when_a_waiting_build_leaves_the_queue(
    queue: Queue, end: Callable[[Queue, Any], None]
) -> None:
    customer = queue.customer(max_concurrent_builds=1)
    orders = [queue.order(customer) for _ in range(3)]

    end(queue, queue.row("SELECT id AS build_id FROM build_queue WHERE id = %s", orders[1]))

    assert queue.admissions(customer)[:2] == ["ready", "waiting"]
    assert queue.build(orders[2]).admission == "waiting"


def test_a_failed_build_that_is_retried_waits_for_its_turn(queue: Queue) -> None:
    customer = queue.customer(max_concurrent_builds=1)
    order, other = queue.order(customer), queue.order(customer)
    queue.complete(queue.claim(), success=False)
    running = queue.claim()
    assert running.build_id == other

    queue.retry(order)

    assert queue.claim() is None
    queue.complete(running)
    assert queue.claim().build_id == order


def test_a_build_of_higher_priority_takes_the_slot_of_one_that_nobody_has_claimed(queue: Queue) -> None:
    customer = queue.customer(max_concurrent_builds=1)
    low = queue.order(customer, priority=3)

    high = queue.order(customer, priority=8)

    assert (queue.build(low).admission, queue.build(high).admission) == ("waiting", "ready")


def test_a_running_build_keeps_its_slot_whatever_comes(queue: Queue) -> None:
    customer = queue.customer(max_concurrent_builds=1)
    queue.order(customer, priority=3)
    running = queue.claim()

    queue.order(customer, priority=10)

    assert queue.claim() is None
    assert queue.build(running.build_id).status == "building"


def test_a_build_of_the_same_priority_takes_a_slot_only_from_a_later_one(queue: Queue) -> None:
    customer = queue.customer(max_concurrent_builds=1)
    order = queue.order(customer, queued_at="2026-01-02")

    later, earlier = (queue.order(customer, queued_at=f"2026-01-0{day}") for day in (3, 1))

    assert [queue.build(each).admission for each in (earlier, order, later)] == [
        "ready",
        "waiting",
        "waiting",
    ]


def test_an_order_that_is_not_queued_after_all_takes_no_slot(queue: Queue) -> None:
    customer = queue.customer(max_concurrent_builds=1)
    low = queue.order(customer, priority=3)

    queue.run(
        "INSERT INTO build_queue (id, customer_id, manifest_path, manifest_hash, manifest_json, priority)"
        " VALUES (%s, %s, '/m', 'h', '{}', 9) ON CONFLICT (id) DO NOTHING",
        low,
        customer,
    )

    assert queue.claim().build_id == low


@pytest.mark.parametrize("column", ["priority = 9", "queued_at = '2020-01-01'"])
def test_a_waiting_build_that_moves_ahead_takes_the_slot_of_a_later_one(queue: Queue, column: str) -> None:
    customer = queue.customer(max_concurrent_builds=1)
    ready, waiting = queue.order(customer), queue.order(customer)

    queue.run(f"UPDATE build_queue SET {column} WHERE id = %s", waiting)

    assert (queue.build(ready).admission, queue.build(waiting).admission) == ("waiting", "ready")


@pytest.mark.parametrize("column", ["priority = 1", "queued_at = now()"])
def test_a_ready_build_that_moves_behind_gives_its_slot_to_the_next(queue: Queue, column: str) -> None:
    customer = queue.customer(max_concurrent_builds=1)
    ready, waiting = (
        queue.order(customer, queued_at="2026-01-01"),
        queue.order(customer, queued_at="2026-01-02"),
    )

    queue.run(f"UPDATE build_queue SET {column} WHERE id = %s", ready)

    assert (queue.build(ready).admission, queue.build(waiting).admission) == ("waiting", "ready")


def test_priorities_that_change_in_one_statement_are_all_heeded(queue: Queue) -> None:
    customer = queue.customer(max_concurrent_builds=3)
    queue.order_many(9, customer, "priority", "10 - n")
    assert [row.priority for row in ready(queue, customer)] == [9, 8, 7]

    queue.run("UPDATE build_queue SET priority = 10 - priority")

    assert [row.priority for row in ready(queue, customer)] == [9, 8, 7]
    assert queue.admissions(customer) == ["ready"] * 3 + ["waiting"] * 6


def ready(queue: Queue, customer: str) -> list[Any]:
    return queue.rows(
        "SELECT id, priority FROM build_queue WHERE customer_id = %s AND status = 'queued'"
        " AND admission = 'ready' ORDER BY priority DESC, queued_at",
        customer,
    )


def test_a_change_that_moves_nothing_leaves_the_admission_alone(queue: Queue) -> None:
    customer = queue.customer(max_concurrent_builds=1)
    queue.order(customer)
    waiting = queue.order(customer)

    queue.run("UPDATE build_queue SET status = status, priority = priority, queued_at = queued_at")
    queue.run("UPDATE build_queue SET estimated_memory_mb = 512")

    assert queue.admissions(customer) == ["ready", "waiting"]
    assert queue.build(waiting).admission == "waiting"


def test_a_build_set_to_running_by_plain_sql_takes_a_slot(queue: Queue) -> None:
    customer = queue.customer(max_concurrent_builds=1)
    queue.order(customer)
    waiting = queue.order(customer)

    queue.run("UPDATE build_queue SET status = 'building' WHERE id = %s", waiting)

    assert queue.build(waiting).admission == "ready"
    assert queue.admissions(customer) == ["waiting"]
    assert queue.claim() is None
    queue.cancel(waiting)
    assert queue.claim() is not None


def test_a_build_inserted_as_running_takes_a_slot(queue: Queue) -> None:
    customer = queue.customer(max_concurrent_builds=1)
    queued = queue.order(customer)

    running = queue.order(customer, status="building")

    assert (queue.build(queued).admission, queue.build(running).admission) == ("waiting", "ready")


def test_a_build_put_back_by_plain_sql_waits_for_its_time(queue: Queue) -> None:
    order = queue.order()
    queue.complete(queue.claim(), False)
    queue.run("UPDATE build_queue SET queued_at = now() + interval '1 hour' WHERE id = %s", order)

    other = queue.order()

    queue.run("UPDATE build_queue SET status = 'queued' WHERE id = %s", order)

    assert (queue.build(order).admission, queue.build(other).admission) == ("delayed", "ready")


def test_a_build_given_to_a_customer_counts_there(queue: Queue) -> None:
    giver, taker = queue.customer(max_concurrent_builds=1), queue.customer(max_concurrent_builds=1)
    given, stays = queue.order(giver), queue.order(giver)
    taken = queue.order(taker, priority=9)

    queue.run("UPDATE build_queue SET customer_id = %s WHERE id = %s", taker, given)

    assert [queue.build(each).admission for each in (given, stays, taken)] == ["waiting", "ready", "ready"]


def test_delayed_builds_take_no_slot_until_they_are_due(queue: Queue) -> None:
    customer = queue.customer(max_concurrent_builds=1)
    delayed = queue.order(customer, priority=9, queued_at="2999-01-01")
    order = queue.order(customer)
    assert (queue.build(delayed).admission, queue.build(order).admission) == ("delayed", "ready")

    queue.run("UPDATE build_queue SET queued_at = now() WHERE id = %s", delayed)

    assert (queue.build(delayed).admission, queue.build(order).admission) == ("ready", "waiting")


def test_a_higher_limit_lets_waiting_builds_in(queue: Queue) -> None:
    customer = queue.customer(max_concurrent_builds=1)
    queue.order_many(5, customer)

    queue.limit(customer, 3)

    assert queue.admissions(customer) == ["ready"] * 3 + ["waiting"] * 2


def test_without_a_limit_nothing_waits(queue: Queue) -> None:
    customer = queue.customer(max_concurrent_builds=1)
    queue.order_many(5, customer)

    queue.limit(customer, None)

    assert queue.admissions(customer) == ["ready"] * 5


def test_a_lower_limit_makes_the_last_builds_wait(queue: Queue) -> None:
    customer = queue.customer(max_concurrent_builds=4)
    queue.order_many(4, customer, "priority", "n")

    queue.limit(customer, 2)

    assert queue.admissions(customer) == ["ready"] * 2 + ["waiting"] * 2


def test_builds_that_run_when_the_limit_is_lowered_end_before_the_next_may_begin(queue: Queue) -> None:
    customer = queue.customer(max_concurrent_builds=3)
    queue.order_many(6, customer)
    running = queue.claim_many(3)

    queue.limit(customer, 1)

    for build in running:
        assert queue.claim() is None
        queue.complete(build)
    assert len(queue.claim_many(6)) == 1


def test_a_limit_of_zero_and_back_again_loses_no_build(queue: Queue) -> None:
    customer = queue.customer(max_concurrent_builds=2)
    queue.order_many(5, customer)

    queue.limit(customer, 0)
    assert queue.claim() is None
    queue.limit(customer, 2)

    assert queue.admissions(customer) == ["ready"] * 2 + ["waiting"] * 3


def test_a_new_licence_limits_the_builds_that_are_queued_already(queue: Queue) -> None:
    customer = queue.customer()
    queue.order_many(5, customer)

    add_license(queue.connection, customer, max_concurrent_builds=2)

    assert queue.admissions(customer) == ["ready"] * 2 + ["waiting"] * 3


def test_a_licence_without_a_limit_changes_nothing(queue: Queue) -> None:
    customer = queue.customer()
    queue.order_many(5, customer)

    add_license(queue.connection, customer, max_concurrent_builds=None)

    assert queue.admissions(customer) == ["ready"] * 5


def test_when_the_licence_is_deleted_nothing_waits(queue: Queue) -> None:
    customer = queue.customer(max_concurrent_builds=1)
    queue.order_many(5, customer)

    queue.run("DELETE FROM licenses")

    assert queue.admissions(customer) == ["ready"] * 5


def test_a_licence_given_to_another_customer_limits_that_one(queue: Queue) -> None:
    giver, taker = queue.customer(max_concurrent_builds=1), queue.customer()
    queue.order_many(3, giver)
    queue.order_many(3, taker)

    queue.run("UPDATE licenses SET customer_id = %s", taker)

    assert queue.admissions(giver) == ["ready"] * 3
    assert queue.admissions(taker) == ["ready", "waiting", "waiting"]


def test_a_licence_that_ends_keeps_its_limit_for_the_builds_in_the_queue(queue: Queue) -> None:
    customer = queue.customer(max_concurrent_builds=1)
    queue.order_many(3, customer)

    queue.run("UPDATE licenses SET status = 'expired'")

    assert queue.admissions(customer) == ["ready", "waiting", "waiting"]
    queue.complete(queue.claim())
    assert queue.admissions(customer) == ["ready", "waiting"]


def test_a_customer_with_builds_of_every_kind_can_be_deleted(queue: Queue) -> None:
    customer = queue.customer(max_concurrent_builds=2)
    queue.order_many(5, customer)
    queue.claim()
    queue.order(customer, queued_at="2999-01-01")

    queue.run("DELETE FROM customers WHERE customer_id = %s", customer)

    assert queue.value("SELECT count(*) FROM build_queue") == 0


def test_whatever_changes_for_a_customer_builds_of_others_stay_where_they_are(queue: Queue) -> None:
    customer, ready, full = (queue.customer(max_concurrent_builds=1) for _ in range(3))
    last_of_all, first_of_all = queue.order(ready, priority=1), queue.order(full, priority=10)
    queue.order(full, priority=9)
    queue.run("UPDATE build_queue SET status = 'building' WHERE id = %s", first_of_all)
    queue.run("UPDATE build_queue SET priority = 10 WHERE customer_id = %s", full)

    def others() -> tuple[list[str], list[str]]:
        assert queue.build(last_of_all).status == "queued"
        return queue.admissions(ready), queue.admissions(full)

    queue.order(customer, priority=3)
    better = queue.order(customer, priority=5)
    assert (queue.admissions(customer), *others()) == (["ready", "waiting"], ["ready"], ["waiting"])
    queue.limit(customer, 0)
    assert (queue.admissions(customer), *others()) == (["waiting", "waiting"], ["ready"], ["waiting"])
    queue.limit(customer, 1)
    assert (queue.admissions(customer), *others()) == (["ready", "waiting"], ["ready"], ["waiting"])
    queue.cancel(better)
    assert (queue.admissions(customer), *others()) == (["ready"], ["ready"], ["waiting"])


def test_calling_it_again_changes_nothing(queue: Queue) -> None:
    customer = queue.customer(max_concurrent_builds=2)
    queue.order_many(5, customer)
    before = queue.rows("SELECT * FROM build_queue ORDER BY id")

    assert queue.value("SELECT admit_builds(%s)", customer) == 0
    assert queue.value("SELECT admit_builds('nobody')") == 0
    assert queue.value("SELECT admit_builds(NULL)") == 0

    assert queue.rows("SELECT * FROM build_queue ORDER BY id") == before


def test_it_puts_right_what_was_changed_behind_the_triggers(queue: Queue) -> None:
    customer = queue.customer(max_concurrent_builds=2)
    queue.order_many(5, customer)
    for admission in ("waiting", "ready"):
        queue.run("UPDATE build_queue SET admission = %s", admission)

        queue.value("SELECT admit_builds(%s)", customer)

        assert queue.admissions(customer) == ["ready"] * 2 + ["waiting"] * 3


@pytest.mark.parametrize("admission", ["waiting", "ready"])
def test_a_build_that_has_ended_gets_no_slot_whatever_was_written_behind_the_triggers(
    queue: Queue, admission: str
) -> None:
    customer = queue.customer(max_concurrent_builds=1)
    ended = queue.order(customer, priority=9)
    queue.cancel(ended)
    order = queue.order(customer)
    queue.run("UPDATE build_queue SET admission = 'waiting' WHERE id = %s", ended)
    queue.run("UPDATE build_queue SET admission = %s WHERE id = %s", admission, order)

    queue.value("SELECT admit_builds(%s)", customer)

    assert (queue.build(ended).admission, queue.build(order).admission) == ("waiting", "ready")


def test_a_build_that_has_ended_takes_no_slot_from_one_that_comes_later(queue: Queue) -> None:
    customer = queue.customer(max_concurrent_builds=1)
    later = queue.order(customer, priority=3)
    ended, next_one = queue.order(customer, priority=9), queue.order(customer, priority=5)
    queue.run("UPDATE build_queue SET status = 'cancelled', completed_at = now() WHERE id = %s", ended)
    queue.run("UPDATE build_queue SET admission = 'waiting' WHERE id IN (%s, %s)", ended, next_one)
    queue.run("UPDATE build_queue SET admission = 'ready' WHERE id = %s", later)

    queue.value("SELECT admit_builds(%s)", customer)

    assert [queue.build(each).admission for each in (ended, next_one, later)] == [
        "waiting",
        "ready",
        "waiting",
    ]


def test_no_slot_goes_to_a_later_build_while_the_next_one_is_locked(queue: Queue, connect: Connect) -> None:
    customer = queue.customer(max_concurrent_builds=1)
    ready, next_one = queue.order(customer, priority=5), queue.order(customer, priority=4)
    last = queue.order(customer, priority=3)
    queue.run("ALTER TABLE build_queue DISABLE TRIGGER USER")
    queue.run("UPDATE build_queue SET priority = 6 WHERE id = %s", next_one)
    queue.run("ALTER TABLE build_queue ENABLE TRIGGER USER")
    holder = connect(autocommit=False)
    holder.execute("SELECT FROM build_queue WHERE id = %s FOR UPDATE", [next_one])

    queue.value("SELECT admit_builds(%s)", customer)

    assert [queue.build(each).admission for each in (ready, next_one, last)] == [
        "ready",
        "waiting",
        "waiting",
    ]


def test_a_build_that_ends_while_its_customer_gets_a_limit_wakes_the_next(
    queue: Queue, connect: Connect
) -> None:
    customer = queue.customer(max_concurrent_builds=None)
    queue.order(customer, priority=9)
    queue.order_many(2, customer)
    running = queue.claim()
    worker = Queue(connect(autocommit=False))
    worker.complete(running)

    change = threading.Thread(target=queue.limit, args=(customer, 1))
    change.start()
    wait_until_blocked(worker)
    worker.connection.commit()
    change.join()

    assert queue.admissions(customer) == ["ready", "waiting"]


def test_a_build_that_is_retried_while_its_limit_is_lifted_may_be_claimed(
    queue: Queue, connect: Connect
) -> None:
    customer = queue.customer(max_concurrent_builds=1)
    order = queue.order(customer)
    queue.complete(queue.claim(), success=False)
    # The transaction reads the licence before the change, for the one trigger, and after it, for the other.
    queue.run(
        "CREATE FUNCTION pause() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NEW; END $$"
    )
    queue.run(
        "CREATE TRIGGER build_queue_then_pause BEFORE UPDATE ON build_queue"
        " FOR EACH ROW EXECUTE FUNCTION pause()"
    )
    administrator, worker = Queue(connect(autocommit=False)), Queue(connect())
    administrator.run("SELECT pg_advisory_xact_lock(1)")

    retry = threading.Thread(target=worker.retry, args=(order,))
    retry.start()
    wait_until_blocked(administrator)
    administrator.limit(customer, None)
    administrator.connection.commit()
    retry.join()

    assert queue.claim().build_id == order


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read", "serializable"])
def test_sixteen_workers_never_have_more_builds_than_the_limits(
    queue: Queue, connect: Connect, isolation: str
) -> None:
    limits = {queue.customer(max_concurrent_builds=limit): limit for limit in (1, 1, 2, 3)}
    for customer in limits:
        queue.order_many(40, customer, "priority", "1 + mod(n, 10)")
    clients = [Queue(connect()) for _ in range(17)]
    for client in clients[:16]:
        client.run("SELECT set_config('default_transaction_isolation', %s, false)", isolation)
    excess: list[Any] = []
    finished = threading.Event()

    def watch() -> None:
        while not finished.wait(0.002):
            excess.extend(
                row
                for row in clients[16].rows(
                    "SELECT customer_id, count(*) AS builds FROM build_queue"
                    " WHERE status = 'building' GROUP BY customer_id"
                )
                if row.builds > limits[row.customer_id]
            )

    def work(number: int) -> list[UUID]:
        done, idle = [], 0
        while idle < 20:
            build = until_serialized(clients[number].claim, f"worker-{number}")
            if build is None:
                idle += 1
                clients[number].run("SELECT pg_sleep(0.005)")
                continue
            idle = 0
            assert until_serialized(clients[number].complete, build, len(done) % 3 > 0)
            done.append(build.build_id)
        return done

    watcher = threading.Thread(target=watch)
    watcher.start()
    claims = [build_id for done in at_once(16, work) for build_id in done]
    finished.set()
    watcher.join()

    assert excess == []
    assert len(claims) == len(set(claims)) == 160
    assert queue.value("SELECT count(*) FROM build_queue WHERE status IN ('success', 'failed')") == 160


def test_a_build_that_comes_first_takes_the_slot_of_one_that_is_queued_not_of_one_that_runs(
    queue: Queue,
) -> None:
    customer = queue.customer(max_concurrent_builds=2)
    running = queue.order(customer, priority=1)
    assert queue.claim().build_id == running
    ready = queue.order(customer, priority=5)

    first = queue.order(customer, priority=9)

    assert [queue.build(each).admission for each in (running, ready, first)] == ["ready", "waiting", "ready"]
    assert queue.build(running).status == "building"
