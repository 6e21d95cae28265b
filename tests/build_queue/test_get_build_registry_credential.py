"""get_build_registry_credential(): the login for the worker that holds the build, and for nobody else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from builders import add_registry_credential

if TYPE_CHECKING:
    from uuid import UUID

    from build_queue.driver import Queue


def credential(queue: Queue, build_id: UUID, worker_id: str = "worker", retry_count: int = 0) -> Any:
    """Return the id of the credential that a worker is given for a build."""
    found = queue.row(
        "SELECT * FROM get_build_registry_credential(%s, %s, %s)", build_id, worker_id, retry_count
    )
    return found and found.credential_id


def test_a_build_is_pushed_to_its_target_else_to_the_default(queue: Queue) -> None:
    customer = queue.customer()
    default = add_registry_credential(queue.connection, customer, is_default=True)
    target = add_registry_credential(queue.connection, customer)
    add_registry_credential(queue.connection, is_default=True)
    aimed, plain = queue.order(customer, target_registry_id=target), queue.order(customer)
    queue.claim_many(2)

    assert (credential(queue, aimed), credential(queue, plain)) == (target, default)


@pytest.mark.parametrize("change", ["is_active = false", "revoked_at = now()"])
def test_a_credential_out_of_use_is_given_to_nobody(queue: Queue, change: str) -> None:
    customer = queue.customer()
    build = queue.order(customer, target_registry_id=add_registry_credential(queue.connection, customer))
    queue.claim()
    assert credential(queue, build)

    queue.run(f"UPDATE registry_credentials SET {change}")

    assert credential(queue, build) is None


@pytest.mark.parametrize(("worker_id", "retry_count"), [("another", 0), ("worker", 1)])
def test_whoever_does_not_hold_the_build_is_given_nothing(
    queue: Queue, worker_id: str, retry_count: int
) -> None:
    customer = queue.customer()
    add_registry_credential(queue.connection, customer, is_default=True)
    build = queue.order(customer)
    queue.claim()

    assert credential(queue, build, worker_id, retry_count) is None


@pytest.mark.parametrize("success", [True, False])
def test_when_the_build_has_ended_its_worker_is_given_nothing_more(queue: Queue, success: bool) -> None:
    customer = queue.customer()
    add_registry_credential(queue.connection, customer, is_default=True)
    build = queue.order(customer)
    claimed = queue.claim()
    assert credential(queue, build)

    queue.complete(claimed, success)

    assert credential(queue, build) is None


def test_the_login_of_another_build_is_not_given(queue: Queue) -> None:
    mine, others = queue.customer(), queue.customer()
    add_registry_credential(queue.connection, others, is_default=True)
    queue.order(others)
    queue.claim()
    build = queue.order(mine)
    queue.claim()

    assert credential(queue, build) is None
