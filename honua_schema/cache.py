"""The build cache: find an image that was built before, and record how it was used.

`honua_schema.calls` says how these functions are called and which errors they raise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from honua_schema.calls import Call, SqlFunction, one, records, value

if TYPE_CHECKING:
    import ipaddress
    import uuid
    from decimal import Decimal


@dataclass(frozen=True)
class CachedBuild:
    """An image that a customer may use.

    Attributes:
        id: The cache entry.
        full_image_url: What to pull.
        tier: Lowest tier that may use the image.
        architecture: Processor architecture of the image.
        modules: Product modules inside it.
    """

    id: uuid.UUID
    full_image_url: str
    tier: str
    architecture: str
    modules: list[str]


@dataclass(frozen=True)
class CacheHitRate:
    """How often the cache had what was asked for.

    Attributes:
        customer_id: Who asked; everybody if None.
        total_accesses: Look-ups, and builds that made entries.
        cache_hits: Look-ups that found an image.
        cache_misses: Look-ups that found none.
        hit_rate_percent: Hits out of hits and misses; None when there were neither.
    """

    customer_id: str | None
    total_accesses: int
    cache_hits: int
    cache_misses: int
    hit_rate_percent: Decimal | None


@SqlFunction
def find_cached_build(
    customer_id: str, manifest_hash: str, architecture: str | None = None
) -> Call[list[CachedBuild]]:
    """Find the image of a manifest that a customer may use, one for each architecture.

    Args:
        customer_id: Who asks.
        manifest_hash: Hash of the manifest.
        architecture: amd64 or arm64; None for both.
    """
    return records(
        "find_cached_build",
        CachedBuild,
        customer_id=customer_id,
        manifest_hash=manifest_hash,
        architecture=architecture,
    )


@SqlFunction
def record_cache_access(
    build_cache_id: uuid.UUID | None,
    customer_id: str,
    access_type: str,
    deployment_id: str | None = None,
    deployment_region: str | None = None,
    pull_duration_seconds: Decimal | float | None = None,
    download_size_bytes: int | None = None,
    user_agent: str | None = None,
    ip_address: ipaddress.IPv4Address | ipaddress.IPv6Address | str | None = None,
) -> Call[int]:
    """Record a look-up in the build cache.

    Args:
        build_cache_id: The entry; None for a miss.
        customer_id: Who looked.
        access_type: cache_hit, cache_miss or build_created.
        deployment_id: What the image is for.
        deployment_region: Where it is deployed.
        pull_duration_seconds: How long the download took.
        download_size_bytes: How much was downloaded.
        user_agent: What program asked.
        ip_address: From where.

    Returns:
        The id of the record.
    """
    return value(
        "record_cache_access",
        build_cache_id=build_cache_id,
        customer_id=customer_id,
        access_type=access_type,
        deployment_id=deployment_id,
        deployment_region=deployment_region,
        pull_duration_seconds=pull_duration_seconds,
        download_size_bytes=download_size_bytes,
        user_agent=user_agent,
        ip_address=ip_address,
    )


@SqlFunction
def get_cache_hit_rate(customer_id: str | None = None, days: int = 30) -> Call[CacheHitRate]:
    """Return how often the cache had what was asked for.

    Args:
        customer_id: Who asked; everybody if None.
        days: How many times 24 hours to look back.
    """
    return one(records("get_cache_hit_rate", CacheHitRate, customer_id=customer_id, days=days))
