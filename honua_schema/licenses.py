"""Licences: what they allow, how much of it is used, and their end.

`honua_schema.calls` says how these functions are called and which errors they raise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from honua_schema.calls import Call, SqlFunction, first, records, value

if TYPE_CHECKING:
    import datetime
    import uuid
    from decimal import Decimal


@dataclass(frozen=True)
class LicenseQuotaUsage:
    """What a licence allows and how much of it is in use. A limit that is None is no limit.

    Attributes:
        max_builds_per_month: Builds allowed in a calendar month (UTC).
        builds_this_month: Builds ordered this month.
        remaining_builds: Builds still allowed this month.
        quota_utilization_percent: Share of them that is used; above 100 after a limit was lowered.
        max_registries: Registry credentials allowed.
        active_registries: Registry credentials in use.
        max_concurrent_builds: Builds allowed to run at the same time.
        current_concurrent_builds: Builds that are running.
    """

    max_builds_per_month: int | None
    builds_this_month: int
    remaining_builds: int | None
    quota_utilization_percent: Decimal | None
    max_registries: int | None
    active_registries: int
    max_concurrent_builds: int | None
    current_concurrent_builds: int


@dataclass(frozen=True)
class ExpiredLicense:
    """A licence that was set to expired.

    Attributes:
        license_id: The licence.
        customer_id: Whose it is.
        expired_at: When it ended.
    """

    license_id: uuid.UUID
    customer_id: str
    expired_at: datetime.datetime


@SqlFunction
def get_license_quota_usage(customer_id: str) -> Call[LicenseQuotaUsage | None]:
    """Return what a customer's licence allows and how much of it is in use; None without a licence.

    Args:
        customer_id: The customer.
    """
    return first(records("get_license_quota_usage", LicenseQuotaUsage, customer_id=customer_id))


@SqlFunction
def find_license_customer(license_key_hash: str) -> Call[str | None]:
    """Return the customer whose licence is in force and has this key; None when there is none.

    Args:
        license_key_hash: SHA-256 of the licence key, as `honua_schema.crypto.hash_license_key` returns it.
    """
    return value("find_license_customer", license_key_hash=license_key_hash)


@SqlFunction
def expire_licenses(limit: int | None = None) -> Call[list[ExpiredLicense]]:
    """Set licences that have ended to expired.

    Args:
        limit: How many licences at most; all if None.
    """
    return records("expire_licenses", ExpiredLicense, limit=limit)
