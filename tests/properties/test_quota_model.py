"""Licences, monthly quotas and registry limits do what a plain model of them does."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

from hypothesis import strategies as some
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    rule,
    run_state_machine_as_test,
)
from psycopg import errors

from builders import add_build, add_customer, add_license, add_registry_credential

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    import psycopg

    Connection = psycopg.Connection[Any]

CUSTOMERS = ["one", "two"]
MONTHS = [-1, 0, 1]
"""The month before this one, this one, and the next."""


@dataclass
class Customer:
    """What the model knows of a customer: its licence, and what counts towards the limits.

    Attributes:
        builds: The month of each build that counts.
        credentials: Of each credential whether it is active and unrevoked.
    """

    status: str = "active"
    has_ended: bool = False
    max_builds_per_month: int | None = 2
    max_registries: int | None = 2
    builds: dict[UUID, int] = field(default_factory=dict)
    credentials: dict[UUID, bool] = field(default_factory=dict)

    @property
    def allows_builds(self) -> bool:
        """Whether the licence is in force."""
        return self.status in ("active", "trial") and not self.has_ended


class QuotaModel(RuleBasedStateMachine):
    """Does the same to the database and to a model, and compares.

    Args:
        connection: A connection within whose transaction all is done and undone.
    """

    builds = Bundle("builds")
    credentials = Bundle("credentials")

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self.connection = connection
        self.customers = {name: Customer() for name in CUSTOMERS}
        self.numbers = itertools.count(1)
        for name in CUSTOMERS:
            add_customer(connection, name)
            add_license(
                connection, name, max_builds_per_month=2, max_registries=2, max_concurrent_builds=None
            )
        [(self.month,)] = self.rows("SELECT date_trunc('month', now(), 'UTC')")

    def teardown(self) -> None:
        self.connection.rollback()

    def rows(self, query: str, *values: Any) -> list[Any]:
        cursor = self.connection.execute(query.encode(), values or None)
        return cursor.fetchall() if cursor.description else []

    def refusal(self, change: Callable[[], object]) -> str | None:
        """Make a change and return the name of the rule that refused it, None if none did."""
        try:
            with self.connection.transaction():
                change()
        except errors.CheckViolation as error:
            return error.diag.constraint_name
        return None

    @rule(
        target=builds,
        name=some.sampled_from(CUSTOMERS),
        month=some.sampled_from(MONTHS),
        status=some.sampled_from(["queued", "failed"]),
        place=some.sampled_from(["first moment", "last moment"]),
    )
    def order(self, name: str, month: int, status: str, place: str) -> UUID | None:
        customer = self.customers[name]
        if not customer.allows_builds:
            expected = "license_allows_builds"
        elif customer.max_builds_per_month is not None and customer.max_builds_per_month <= sum(
            each == month for each in customer.builds.values()
        ):
            expected = "max_builds_per_month"
        else:
            expected = None
        first_month = month if place == "first moment" else month + 1
        offset = "0" if place == "first moment" else "1 microsecond"
        [(build_id, queued_at)] = self.rows(
            "SELECT gen_random_uuid(),"
            " (%s AT TIME ZONE 'UTC' + make_interval(months => %s)) AT TIME ZONE 'UTC' - %s::interval",
            self.month, first_month, offset,
        )  # fmt: skip
        columns = {"id": build_id, "queued_at": queued_at, "status": status}
        if status == "failed":
            columns["completed_at"] = queued_at
        refused = self.refusal(lambda: add_build(self.connection, name, **columns))
        assert refused == expected
        if refused:
            return None
        customer.builds[build_id] = month
        return cast("UUID", build_id)

    @rule(build_id=builds)
    def retry(self, build_id: UUID | None) -> None:
        """Retry a build at once: neither the limits nor the licence stop it, and it does not count again."""
        [retried] = self.rows("SELECT retry_failed_build(%s)", build_id)[0]
        for customer in self.customers.values():
            if retried and build_id in customer.builds:
                # A delay may have moved its place, so from now on it counts no later than in the month in
                # which it was made.
                customer.builds[build_id] = min(customer.builds[build_id], 0)

    @rule(build_id=consumes(builds))
    def delete(self, build_id: UUID | None) -> None:
        self.rows("DELETE FROM build_queue WHERE id = %s", build_id)
        for customer in self.customers.values():
            customer.builds.pop(build_id, None)  # type: ignore[arg-type]

    @rule(name=some.sampled_from(CUSTOMERS), limit=some.none() | some.integers(0, 3))
    def change_quota(self, name: str, limit: int | None) -> None:
        self.rows("UPDATE licenses SET max_builds_per_month = %s WHERE customer_id = %s", limit, name)
        self.customers[name].max_builds_per_month = limit

    @rule(
        name=some.sampled_from(CUSTOMERS),
        status=some.sampled_from(["active", "trial", "expired", "revoked"]),
        expires_in=some.sampled_from([-1, 1]),
        trial_expires_in=some.sampled_from([None, -1, 1]),
    )
    def change_license(self, name: str, status: str, expires_in: int, trial_expires_in: int | None) -> None:
        self.rows(
            "UPDATE licenses SET status = %s, issued_at = now() - interval '1 year',"
            " expires_at = now() + make_interval(days => %s),"
            " trial_expires_at = now() + make_interval(days => %s) WHERE customer_id = %s",
            status, expires_in, trial_expires_in, name,
        )  # fmt: skip
        days = expires_in if status != "trial" or trial_expires_in is None else trial_expires_in
        self.customers[name].status, self.customers[name].has_ended = status, days < 0

    @rule()
    def expire(self) -> None:
        expected = {
            name
            for name, each in self.customers.items()
            if each.has_ended and each.status in ("active", "trial")
        }
        assert {row.customer_id for row in self.rows("SELECT customer_id FROM expire_licenses()")} == expected
        for name in expected:
            customer = self.customers[name]
            customer.status = "expired"

    def may_use_another(self, name: str) -> bool:
        customer = self.customers[name]
        return customer.max_registries is None or sum(customer.credentials.values()) < customer.max_registries

    @rule(target=credentials, name=some.sampled_from(CUSTOMERS), is_active=some.booleans())
    def add_credential(self, name: str, is_active: bool) -> UUID | None:
        credential = uuid4()
        expected = None if not is_active or self.may_use_another(name) else "max_registries"
        refused = self.refusal(
            lambda: add_registry_credential(self.connection, name, id=credential, is_active=is_active)
        )
        assert refused == expected
        if refused:
            return None
        self.customers[name].credentials[credential] = is_active
        return credential

    @rule(
        credential=credentials,
        change=some.sampled_from(
            [
                "is_active = true, revoked_at = NULL",
                "is_active = false",
                "revoked_at = now()",
                "registry_name = 'x'",
            ]
        ),
    )
    def change_credential(self, credential: UUID | None, change: str) -> None:
        statement = f"UPDATE registry_credentials SET {change} WHERE id = %s"
        refused = self.refusal(lambda: self.rows(statement, credential))
        for name, customer in self.customers.items():
            if credential in customer.credentials:
                if change.startswith("is_active = true"):
                    in_use = customer.credentials[credential]
                    assert refused == (None if in_use or self.may_use_another(name) else "max_registries")
                    customer.credentials[credential] = in_use or refused is None
                else:
                    assert refused is None
                    customer.credentials[credential] &= change.startswith("registry_name")

    @rule(name=some.sampled_from(CUSTOMERS), limit=some.none() | some.integers(0, 3))
    def change_registry_limit(self, name: str, limit: int | None) -> None:
        self.rows("UPDATE licenses SET max_registries = %s WHERE customer_id = %s", limit, name)
        self.customers[name].max_registries = limit

    @invariant()
    def agree(self) -> None:
        for name, customer in self.customers.items():
            [usage] = self.rows("SELECT * FROM get_license_quota_usage(%s)", name)
            used = sum(month == 0 for month in customer.builds.values())
            quota = customer.max_builds_per_month
            assert (usage.builds_this_month, usage.active_registries) == (
                used,
                sum(customer.credentials.values()),
            )
            assert (usage.max_builds_per_month, usage.max_registries) == (quota, customer.max_registries)
            assert usage.remaining_builds == (None if quota is None else max(0, quota - used))
            if quota is None:
                assert usage.quota_utilization_percent is None
            elif quota:
                assert float(usage.quota_utilization_percent) == round(100 * used / quota, 2)


def test_quotas_agree_with_their_model(connection: Connection) -> None:
    connection.autocommit = False
    run_state_machine_as_test(lambda: QuotaModel(connection))  # type: ignore[arg-type]
