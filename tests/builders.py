"""Insert valid rows, so that a test names only what it is about.

Each function takes the columns that matter, gives the others allowed values, and returns the key that other
tables refer to. A row that the new one belongs to is made too when it is not given.
"""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from psycopg import sql
from psycopg.rows import scalar_row
from psycopg.types.json import Jsonb

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[Any]

Key = TypeVar("Key", str, int, UUID)

MANIFEST = {"modules": ["ogc-api", "stac"], "cloud": "aws"}
_numbers = itertools.count(1)


def new_hash() -> str:
    """Return a hash of 64 digits that no other row has."""
    return f"{next(_numbers):064x}"


def add_customer(connection: Connection, customer_id: str | None = None, **columns: Any) -> str:
    """Add a customer of tier core and return its customer_id."""
    customer_id = customer_id or f"customer-{next(_numbers)}"
    defaults = {
        "customer_id": customer_id,
        "organization_name": "Atlas Surveys",
        "contact_email": f"maps@{customer_id}.example",
    }
    return _insert(connection, "customers", defaults | columns, str, key="customer_id")


def add_license(connection: Connection, customer_id: str | None = None, **columns: Any) -> UUID:
    """Add an active licence of tier core, with the default limits, that ends in a year, and return its id."""
    defaults = {
        "customer_id": customer_id or add_customer(connection),
        "license_key": "encrypted",
        "license_key_hash": new_hash(),
        "tier": "core",
        "expires_at": datetime.now(UTC) + timedelta(days=365),
    }
    return _insert(connection, "licenses", defaults | columns, UUID)


def add_registry_credential(connection: Connection, customer_id: str | None = None, **columns: Any) -> UUID:
    """Add an active registry credential and return its id."""
    defaults = {
        "customer_id": customer_id or add_customer(connection),
        "registry_name": "GitHub",
        "registry_url": "https://ghcr.io",
        "registry_provider": "ghcr",
        "username_encrypted": b"encrypted",
        "password_encrypted": b"encrypted",
        "encryption_key_id": "key-1",
    }
    return _insert(connection, "registry_credentials", defaults | columns, UUID)


def add_cache_entry(connection: Connection, **columns: Any) -> UUID:
    """Add a build of tier core for amd64 to the cache and return its id."""
    defaults = {
        "manifest_hash": new_hash(),
        "tier": "core",
        "registry_url": "https://ghcr.io",
        "image_tag": "1.0",
        "full_image_url": "ghcr.io/honua/server:1.0",
        "modules": MANIFEST["modules"],
        "architecture": "amd64",
        "cloud_provider": "aws",
        "cloud_compute": "graviton",
        "deployment_mode": "standalone",
        "build_duration_seconds": 480,
        "manifest_json": MANIFEST,
    }
    return _insert(connection, "build_cache_registry", defaults | columns, UUID)


def add_cache_access(
    connection: Connection, build_cache_id: UUID | None, customer_id: str | None = None, **columns: Any
) -> int:
    """Log a hit of a cache entry, or a miss if there is none, and return its id."""
    defaults = {
        "build_cache_id": build_cache_id,
        "customer_id": customer_id or add_customer(connection),
        "access_type": "cache_hit" if build_cache_id else "cache_miss",
    }
    return _insert(connection, "build_access_log", defaults | columns, int)


def add_build(connection: Connection, customer_id: str | None = None, **columns: Any) -> UUID:
    """Queue a build and return its id."""
    defaults = {
        "customer_id": customer_id or add_customer(connection),
        "manifest_path": "/manifests/honua-build.json",
        "manifest_hash": new_hash(),
        "manifest_json": MANIFEST,
    }
    return _insert(connection, "build_queue", defaults | columns, UUID)


def add_result(connection: Connection, build_queue_id: UUID | None = None, **columns: Any) -> UUID:
    """Add the result of a build that succeeded and return its id. The build's own row stays as it is."""
    defaults = {
        "build_queue_id": build_queue_id or add_build(connection),
        "success": True,
        "actual_duration_seconds": 480,
    }
    return _insert(connection, "build_results", defaults | columns, UUID)


def add_artifact(connection: Connection, build_result_id: UUID | None = None, **columns: Any) -> UUID:
    """Add a container image to a result and return its id."""
    defaults = {
        "build_result_id": build_result_id or add_result(connection),
        "artifact_type": "container_image",
        "artifact_name": "honua-server",
        "storage_type": "registry",
        "storage_url": "ghcr.io/honua/server:1.0",
    }
    return _insert(connection, "build_artifacts", defaults | columns, UUID)


def add_event(connection: Connection, build_queue_id: UUID | None = None, **columns: Any) -> int:
    """Add an event to a build and return its id."""
    defaults = {"build_queue_id": build_queue_id or add_build(connection), "event_type": "step_started"}
    return _insert(connection, "build_events", defaults | columns, int)


def add_metric(connection: Connection, build_queue_id: UUID | None = None, **columns: Any) -> int:
    """Add a measured value to a build and return its id."""
    defaults = {
        "build_queue_id": build_queue_id or add_build(connection),
        "metric_name": "memory",
        "metric_value": 512,
        "metric_unit": "MB",
    }
    return _insert(connection, "build_metrics", defaults | columns, int)


def add_manifest(connection: Connection, customer_id: str | None = None, **columns: Any) -> UUID:
    """Add the draft of a manifest and return its id."""
    defaults = {
        "customer_id": customer_id or add_customer(connection),
        "manifest_json": MANIFEST,
        "manifest_hash": new_hash(),
    }
    return _insert(connection, "build_manifests", defaults | columns, UUID)


def add_conversation(connection: Connection, customer_id: str | None = None, **columns: Any) -> UUID:
    """Add an active conversation without messages and return its id."""
    defaults = {"customer_id": customer_id or add_customer(connection)}
    return _insert(connection, "conversations", defaults | columns, UUID)


def add_message(connection: Connection, conversation_id: UUID | None = None, **columns: Any) -> int:
    """Add the customer's next message to a conversation and return its id."""
    conversation_id = conversation_id or add_conversation(connection)
    last_number = (
        "SELECT max(message.sequence_number) FROM conversation_messages AS message"
        " WHERE message.conversation_id = %s"
    )
    with connection.cursor(row_factory=scalar_row) as cursor:
        sequence_number = (cursor.execute(last_number, [conversation_id]).fetchone() or 0) + 1
    defaults = {
        "conversation_id": conversation_id,
        "sequence_number": sequence_number,
        "role": "user",
        "content": "Maps of the coast, please.",
    }
    return _insert(connection, "conversation_messages", defaults | columns, int)


def add_intent(connection: Connection, conversation_id: UUID | None = None, **columns: Any) -> int:
    """Add an intent to a conversation and return its id."""
    defaults = {"conversation_id": conversation_id or add_conversation(connection), "intent_type": "deploy"}
    return _insert(connection, "conversation_intents", defaults | columns, int)


def add_extraction(connection: Connection, conversation_id: UUID | None = None, **columns: Any) -> UUID:
    """Add a requirement that was read out of a conversation and return its id."""
    defaults = {
        "conversation_id": conversation_id or add_conversation(connection),
        "requirement_type": "cloud_provider",
        "requirement_value": "aws",
    }
    return _insert(connection, "requirement_extractions", defaults | columns, UUID)


def _insert(
    connection: Connection, table: str, columns: dict[str, Any], key_type: type[Key], key: str = "id"
) -> Key:
    statement = sql.SQL("INSERT INTO {} ({}) VALUES ({}) RETURNING {}").format(
        sql.Identifier(table),
        sql.SQL(", ").join(map(sql.Identifier, columns)),
        sql.SQL(", ").join(map(sql.Placeholder, columns)),
        sql.Identifier(key),
    )
    values = {name: Jsonb(value) if isinstance(value, dict) else value for name, value in columns.items()}
    with connection.cursor(row_factory=scalar_row) as cursor:
        inserted = cursor.execute(statement, values).fetchone()
    assert isinstance(inserted, key_type)
    return inserted
