"""find_cached_build(): what the customer's tier admits, and nothing that is no longer offered."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from builders import add_cache_entry, add_customer, add_license
from queries import rows, values

if TYPE_CHECKING:
    from uuid import UUID

    import psycopg

    Connection = psycopg.Connection[Any]

TIERS = ["core", "pro", "enterprise", "asp"]
NOW = datetime.now(UTC)
YESTERDAY, TOMORROW = NOW - timedelta(days=1), NOW + timedelta(days=1)


def found(connection: Connection, customer: str | None, architecture: str | None = None) -> list[UUID]:
    """The entries of the manifest 'hash' that the customer is offered."""
    return values(connection, "SELECT id FROM find_cached_build(%s, 'hash', %s)", customer, architecture)


def add_entry(connection: Connection, **columns: Any) -> UUID:
    return add_cache_entry(connection, **({"manifest_hash": "hash"} | columns))


def test_a_tier_admits_itself_and_the_tiers_below(connection: Connection) -> None:
    customers = {tier: add_customer(connection, tier=tier) for tier in TIERS}
    for rank, entry_tier in enumerate(TIERS):
        entry = add_entry(connection, tier=entry_tier)

        offered = {tier: found(connection, customer) for tier, customer in customers.items()}

        assert offered == {tier: [entry] if TIERS.index(tier) >= rank else [] for tier in TIERS}
        connection.execute("DELETE FROM build_cache_registry")


def test_the_highest_admitted_tier_is_preferred(connection: Connection) -> None:
    customer = add_customer(connection, tier="enterprise")
    entries = {tier: add_entry(connection, tier=tier) for tier in TIERS}

    assert found(connection, customer) == [entries["enterprise"]]
    connection.execute(
        "UPDATE build_cache_registry SET deleted_at = now() WHERE id = %s", [entries["enterprise"]]
    )
    assert found(connection, customer) == [entries["pro"]]


def test_an_entry_of_another_manifest_is_not_offered(connection: Connection) -> None:
    customer = add_customer(connection, tier="pro")
    add_cache_entry(connection, tier="pro")
    assert found(connection, customer) == []

    entry = add_entry(connection)

    assert found(connection, customer) == [entry]


def test_each_architecture_is_answered_by_itself(connection: Connection) -> None:
    customer = add_customer(connection)
    amd64 = add_entry(connection, architecture="amd64")
    arm64 = add_entry(connection, architecture="arm64")

    assert found(connection, customer) == [amd64, arm64]
    assert found(connection, customer, "amd64") == [amd64]
    assert found(connection, customer, "arm64") == [arm64]
    assert found(connection, customer, "riscv") == []


def test_the_answer_is_all_that_a_pull_needs(connection: Connection) -> None:
    customer = add_customer(connection)
    entry = add_entry(connection, full_image_url="ghcr.io/honua/server:2", modules=["stac"])

    assert rows(connection, "SELECT * FROM find_cached_build(%s, 'hash')", customer) == [
        (entry, "ghcr.io/honua/server:2", "core", "amd64", ["stac"])
    ]


@pytest.mark.parametrize("gone", [{"deleted_at": YESTERDAY}, {"expires_at": YESTERDAY}])
def test_a_deleted_or_expired_entry_is_not_offered(connection: Connection, gone: dict[str, Any]) -> None:
    customer = add_customer(connection)
    add_entry(connection, **gone)

    assert found(connection, customer) == []


def test_an_entry_is_offered_until_it_expires(connection: Connection) -> None:
    customer = add_customer(connection)
    entry = add_entry(connection, expires_at=TOMORROW)

    assert found(connection, customer) == [entry]


def test_a_successor_takes_the_place_of_a_deleted_entry(connection: Connection) -> None:
    customer = add_customer(connection)
    add_entry(connection, deleted_at=YESTERDAY)
    successor = add_entry(connection)

    assert found(connection, customer) == [successor]


@pytest.mark.parametrize("status", ["suspended", "cancelled"])
def test_a_suspended_or_cancelled_customer_gets_nothing(connection: Connection, status: str) -> None:
    customer = add_customer(connection, subscription_status=status)
    add_license(connection, customer)
    add_entry(connection)

    assert found(connection, customer) == []


@pytest.mark.parametrize("status", ["trial", "active"])
def test_a_customer_on_trial_is_served_like_any_other(connection: Connection, status: str) -> None:
    customer = add_customer(connection, subscription_status=status)
    entry = add_entry(connection)

    assert found(connection, customer) == [entry]


def test_a_deleted_unknown_or_missing_customer_gets_nothing(connection: Connection) -> None:
    deleted = add_customer(connection, deleted_at=YESTERDAY)
    add_entry(connection)

    assert found(connection, deleted) == []
    assert found(connection, "nobody") == []
    assert found(connection, None) == []


@pytest.mark.parametrize(
    ("license_columns", "counts"),
    [
        ({}, True),
        ({"status": "trial"}, True),
        ({"status": "trial", "trial_expires_at": TOMORROW}, True),
        ({"status": "trial", "issued_at": NOW - timedelta(days=9), "trial_expires_at": YESTERDAY}, False),
        ({"issued_at": NOW - timedelta(days=9), "expires_at": YESTERDAY}, False),
        ({"status": "expired"}, False),
        ({"status": "revoked"}, False),
    ],
)
def test_a_licence_in_force_decides_otherwise_the_subscription(
    connection: Connection, license_columns: dict[str, Any], counts: bool
) -> None:
    customer = add_customer(connection, tier="core")
    add_license(connection, customer, **({"tier": "pro"} | license_columns))
    core, pro = (add_entry(connection, tier=tier) for tier in ("core", "pro"))

    assert found(connection, customer) == [pro if counts else core]


def test_a_lower_licence_outranks_a_higher_subscription(connection: Connection) -> None:
    customer = add_customer(connection, tier="asp")
    add_license(connection, customer, tier="core")
    add_entry(connection, tier="asp")

    assert found(connection, customer) == []


def test_tiers_are_ranked(connection: Connection) -> None:
    ranks = values(connection, "SELECT tier_rank(tier) FROM unnest(%s::varchar[]) AS tier", [*TIERS, "gold"])

    assert ranks == [1, 2, 3, 4, None]
