"""check_manifest_build(): the build of a manifest is its customer's own, whichever of them is changed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest
from psycopg import errors

from builders import add_build, add_customer, add_manifest
from queries import value
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

    Connection = psycopg.Connection[Any]
    Connect = Callable[..., Connection]

RULE = "fk_build_manifests_customer_id_deployment_id"


@pytest.fixture
def customer(connection: Connection) -> str:
    """A customer with a build that no manifest points at."""
    customer = add_customer(connection)
    add_build(connection, customer)
    return customer


def give(connection: Connection, build: UUID, customer: str) -> None:
    """Give a build to a customer."""
    connection.execute("UPDATE build_queue SET customer_id = %s WHERE id = %s", [customer, build])


def refused(table: str) -> Any:
    """Return what expects the rule to refuse a change of the table."""
    return pytest.raises(errors.ForeignKeyViolation, match=f'insert or update on table "{table}" violates')


def test_a_manifest_may_point_at_a_build_of_its_customer(connection: Connection, customer: str) -> None:
    build = add_build(connection, customer)
    manifest = add_manifest(connection, customer)

    connection.execute("UPDATE build_manifests SET deployment_id = %s", [build])

    assert value(connection, "SELECT id FROM build_manifests WHERE deployment_id = %s", build) == manifest


def test_a_manifest_can_not_point_at_a_build_of_somebody_else_or_none_at_all(
    connection: Connection, customer: str
) -> None:
    diagnostics = []
    for build in (add_build(connection), uuid4()):
        with refused("build_manifests") as refusal:
            add_manifest(connection, customer, deployment_id=build)
        diagnostics.append(refusal.value.diag)

    for each in diagnostics:
        assert (each.constraint_name, each.table_name) == (RULE, "build_manifests")
        assert each.message_hint
    # Who may not see that build learns nothing from the message.
    assert diagnostics[0].message_primary == diagnostics[1].message_primary


def test_a_manifest_with_a_build_can_not_be_given_away(connection: Connection, customer: str) -> None:
    add_manifest(connection, customer, deployment_id=add_build(connection, customer))
    other = add_customer(connection)
    add_build(connection, other)

    with refused("build_manifests"):
        connection.execute("UPDATE build_manifests SET customer_id = %s", [other])


def test_a_build_that_a_manifest_points_at_can_not_be_given_away(
    connection: Connection, customer: str
) -> None:
    build = add_build(connection, customer)
    add_manifest(connection, customer, deployment_id=build)

    with refused("build_queue") as refusal:
        give(connection, build, add_customer(connection))

    assert refusal.value.diag.constraint_name == RULE


def test_a_build_can_be_given_away_whatever_builds_other_manifests_point_at(
    connection: Connection, customer: str
) -> None:
    add_manifest(connection, customer, deployment_id=add_build(connection, customer))
    build, taker = add_build(connection, customer), add_customer(connection)

    give(connection, build, taker)

    assert value(connection, "SELECT customer_id FROM build_queue WHERE id = %s", build) == taker


def test_a_build_can_be_given_away_when_the_manifest_that_points_at_it_is_nobodys(
    connection: Connection, customer: str
) -> None:
    build, taker = add_build(connection, customer), add_customer(connection)
    add_manifest(connection, customer, deployment_id=build)
    connection.execute("UPDATE build_manifests SET customer_id = NULL")

    give(connection, build, taker)

    assert value(connection, "SELECT customer_id FROM build_queue WHERE id = %s", build) == taker


@pytest.mark.parametrize("first", ["give", "point"])
def test_a_manifest_and_a_change_of_hands_at_the_same_moment_wait_for_each_other(
    connection: Connection, connect: Connect, customer: str, first: str
) -> None:
    build, taker = add_build(connection, customer), add_customer(connection)
    one, other = connect(autocommit=False), connect()

    def change(which: Connection, what: str) -> None:
        if what == "give":
            give(which, build, taker)
        else:
            add_manifest(which, customer, deployment_id=build)

    change(one, first)
    with ThreadPoolExecutor() as pool:
        second = pool.submit(change, other, "point" if first == "give" else "give")
        until(
            lambda: value(
                connection,
                "SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'",
                other.info.backend_pid,
            )
        )
        one.commit()
        with pytest.raises(errors.ForeignKeyViolation):
            second.result()


def test_a_build_changes_hands_while_others_point_manifests_at_other_builds(
    connection: Connection, connect: Connect, customer: str
) -> None:
    build, taker = add_build(connection, customer), add_customer(connection)
    elsewhere = connect(autocommit=False)
    add_manifest(elsewhere, customer, deployment_id=add_build(connection, customer))
    connection.execute("SET lock_timeout = '2s'")

    give(connection, build, taker)

    assert value(connection, "SELECT customer_id FROM build_queue WHERE id = %s", build) == taker
