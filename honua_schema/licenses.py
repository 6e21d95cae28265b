"""Licences: what they allow, how much of it is used, and their end.

`honua_schema.calls` says how these functions are called and which errors they raise.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from sqlalchemy import text

from honua_schema import roles
from honua_schema.calls import Call, SqlFunction, first, records, value
from honua_schema.errors import SchemaError

if TYPE_CHECKING:
    import datetime
    import uuid
    from decimal import Decimal

    from sqlalchemy import Connection


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


QUOTAS = [field.name for field in fields(LicenseQuotaUsage)]
# One query for all customers: what it answers was true at the same moment.
QUOTA_USAGE = text("""
    SELECT l.customer_id AS of_customer, u.*
    FROM licenses AS l
    CROSS JOIN LATERAL get_license_quota_usage(l.customer_id) AS u
    WHERE CAST(:customer_id AS varchar) IS NULL OR l.customer_id = :customer_id
    ORDER BY l.customer_id
""")


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


def get_all_quota_usage(
    connection: Connection, customer_id: str | None = None
) -> dict[str, LicenseQuotaUsage]:
    """Return what each licence allows and how much of it is in use, by customer.

    Args:
        connection: The database, as the owner of the tables or a member of honua_readonly.
        customer_id: Only this customer; all that have a licence if None.

    Raises:
        SchemaError: The customer has no licence, or the role may not see all licences.
    """
    roles.refuse_hidden_rows(connection, "licenses", "licences")
    rows = connection.execute(QUOTA_USAGE, {"customer_id": customer_id}).mappings().all()
    if customer_id is not None and not rows:
        raise SchemaError(
            f"There is no customer {customer_id} with a licence.",
            "honua-schema quotas lists the customers that have one.",
        )
    return {row["of_customer"]: LicenseQuotaUsage(**{name: row[name] for name in QUOTAS}) for row in rows}


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
