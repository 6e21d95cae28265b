"""Two tenants: neither sees, changes or learns anything of the other, through any table, view or function."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql

import builders
from queries import row, rows, value, values

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Acting
    from honua_schema import privileges

    Connection = psycopg.Connection[Any]
    Attempt = Callable[[Connection, "World"], Any]

UNKNOWN_NUMBER = 10**9


@dataclass(frozen=True)
class World:
    """Keys of one row in each table, all of one customer."""

    customer: str
    license: UUID
    credential: UUID
    build: UUID
    result: UUID
    artifact: UUID
    event: int
    metric: int
    manifest: UUID
    conversation: UUID
    message: int
    intent: int
    extraction: UUID
    access: int


def new_world(connection: Connection, tier: str, cache_entry: UUID) -> World:
    customer = builders.add_customer(connection, tier=tier)
    builders.add_build(connection, customer, status="success", completed_at="now")
    # Limits that are used up, so that whoever reaches them is told so.
    license_id = builders.add_license(
        connection, customer, tier=tier, max_builds_per_month=2, max_registries=1, max_concurrent_builds=1
    )
    credential = builders.add_registry_credential(connection, customer, is_default=True)
    build = builders.add_build(connection, customer, target_registry_id=credential, idempotency_key="order")
    connection.execute("SELECT FROM get_next_build_for_worker('worker', 'host')")
    result = builders.add_result(connection, build)
    manifest = builders.add_manifest(connection, customer, deployment_id=build)
    conversation = builders.add_conversation(connection, customer, build_manifest_id=manifest)
    message = builders.add_message(connection, conversation)
    return World(
        customer=customer,
        license=license_id,
        credential=credential,
        build=build,
        result=result,
        artifact=builders.add_artifact(connection, result),
        event=builders.add_event(connection, build),
        metric=builders.add_metric(connection, build),
        manifest=manifest,
        conversation=conversation,
        message=message,
        intent=builders.add_intent(connection, conversation, message_id=message),
        extraction=builders.add_extraction(connection, conversation, build_manifest_id=manifest),
        access=builders.add_cache_access(connection, cache_entry, customer),
    )


def unknown_world() -> World:
    """Keys that nobody has."""
    made: dict[str, Any] = {"str": "nobody", "UUID": uuid4(), "int": UNKNOWN_NUMBER}
    return World(**{field.name: made[str(field.type)] for field in fields(World)})


@pytest.fixture
def shared_entry(connection: Connection) -> UUID:
    return builders.add_cache_entry(connection)


@pytest.fixture
def mine(connection: Connection, shared_entry: UUID) -> World:
    world = new_world(connection, "pro", shared_entry)
    # Nothing in one's own way.
    connection.execute(
        "UPDATE licenses SET max_builds_per_month = NULL, max_registries = NULL, max_concurrent_builds = NULL"
        " WHERE customer_id = %s",
        [world.customer],
    )
    return world


@pytest.fixture
def theirs(connection: Connection, mine: World, shared_entry: UUID) -> World:
    return new_world(connection, "enterprise", shared_entry)


def everything_of(connection: Connection, world: World) -> list[Any]:
    """The rows of all tables that hold a key of a world, as text."""
    tables = values(
        connection,
        "SELECT relname::text FROM pg_class"
        " WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
        " AND relname NOT IN ('alembic_version', 'build_cache_registry') ORDER BY 1",
    )
    keys = [str(key) for key in vars(world).values() if not isinstance(key, int)]
    return [
        (table, text)
        for table in tables
        for text in values(
            connection, f"SELECT t::text FROM {table} AS t WHERE t::text LIKE ANY (%s)",
            [f"%{key}%" for key in keys],
        )
    ]  # fmt: skip


def readable(manifest: privileges.Manifest, role: str) -> list[tuple[str, str]]:
    """The tables and views that a role may read, with the columns."""
    tables = [
        (table, ", ".join(privilege.columns) if privilege.columns else "*")
        for table, by_role in manifest.tables.items()
        for privilege in by_role.get(role, ())
        if privilege.verb == "select"
    ]
    return [*tables, *((view, "*") for view, roles in manifest.views.items() if role in roles)]


def test_without_a_scope_nothing_is_seen(
    connection: Connection, acting: Acting, mine: World, manifest: privileges.Manifest
) -> None:
    with acting("honua_app"):
        for name, columns in readable(manifest, "honua_app"):
            if name != "schema_migrations":
                assert rows(connection, f"SELECT {columns} FROM {name}") == [], name


def test_in_a_scope_each_table_and_view_shows_its_own_rows_and_no_others(
    connection: Connection, acting: Acting, mine: World, theirs: World, manifest: privileges.Manifest
) -> None:
    names = readable(manifest, "honua_app")
    assert len(names) == 24
    foreign = [str(key) for key in vars(theirs).values() if not isinstance(key, int)]
    for world, others in ((mine, foreign), (theirs, [str(key) for key in vars(mine).values()])):
        with acting("honua_app", world.customer):
            for name, columns in names:
                shown = values(
                    connection, f"SELECT x::text FROM (SELECT {columns} FROM {name}) AS x"
                )  # fmt: skip
                assert shown, name
                for text in shown:
                    tokens = set(re.split(r'[(),"{}: ]', text))
                    assert tokens.isdisjoint(other for other in others if len(other) > 8), (name, text)
    with acting("honua_app", mine.customer):
        for table, key in (
            ("build_events", theirs.event),
            ("build_metrics", theirs.metric),
            ("conversation_messages", theirs.message),
            ("conversation_intents", theirs.intent),
            ("build_access_log", theirs.access),
        ):
            assert value(connection, f"SELECT count(*) FROM {table}") == 1
            assert value(connection, f"SELECT count(*) FROM {table} WHERE id = %s", key) == 0


def test_the_shared_cache_is_read_by_tier(
    connection: Connection, acting: Acting, mine: World, theirs: World
) -> None:
    entries = {tier: builders.add_cache_entry(connection, tier=tier) for tier in ("pro", "enterprise", "asp")}
    deleted = builders.add_cache_entry(connection, deleted_at="now")
    for world, tiers in ((mine, {"core", "pro"}), (theirs, {"core", "pro", "enterprise"})):
        with acting("honua_app", world.customer):
            assert set(values(connection, "SELECT tier FROM build_cache_registry")) == tiers
            assert rows(connection, "SELECT id FROM build_cache_registry WHERE id = %s", deleted) == []
    connection.execute("UPDATE customers SET subscription_status = 'suspended'")
    with acting("honua_app", mine.customer):
        assert rows(connection, "SELECT id FROM build_cache_registry") == []
        for entry in (entries["asp"], uuid4()):
            with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.transaction():
                builders.add_cache_access(connection, entry, mine.customer)


def test_nothing_of_others_can_be_changed_or_deleted(
    connection: Connection, acting: Acting, mine: World, theirs: World, manifest: privileges.Manifest
) -> None:
    before = everything_of(connection, theirs)
    assert len(before) >= len(fields(World))
    changed = 0
    for table, by_role in manifest.tables.items():
        for privilege in by_role.get("honua_app", ()):
            for column in privilege.columns or ("id",):
                if privilege.verb not in {"update", "delete"}:
                    continue
                with acting("honua_app", mine.customer):
                    statement = (
                        f"UPDATE {table} SET {column} = {column}"
                        if privilege.verb == "update"
                        else f"DELETE FROM {table}"
                    )
                    key = next(
                        key for name, key in vars(theirs).items() if table.startswith(("build_" + name, name))
                        or (name, table) in {("credential", "registry_credentials"),
                            ("message", "conversation_messages"), ("extraction", "requirement_extractions")}
                    )  # fmt: skip
                    match = "customer_id" if isinstance(key, str) else "id"
                    found = connection.execute(f"{statement} WHERE {match} = %s".encode(), [key])
                    assert found.rowcount == 0
                    connection.execute("RESET ROLE")
                    assert everything_of(connection, theirs) == before
                    changed += 1
    assert changed > 50


ATTEMPTS: dict[str, Attempt] = {
    "customers": lambda c, o: builders.add_customer(c, o.customer),
    "licenses": lambda c, o: builders.add_license(c, o.customer),
    "registry_credentials": lambda c, o: builders.add_registry_credential(c, o.customer),
    "registry_credentials moved": lambda c, o: c.execute(
        "UPDATE registry_credentials SET customer_id = %s", [o.customer]
    ),
    "build_access_log": lambda c, o: builders.add_cache_access(c, None, o.customer),
    "build_queue": lambda c, o: builders.add_build(c, o.customer),
    "build_queue with an idempotency key": lambda c, o: builders.add_build(
        c, o.customer, idempotency_key="order"
    ),
    "build_queue for a registry": lambda c, o: builders.add_build(
        c, value(c, "SELECT customer_id FROM customers"), target_registry_id=o.credential
    ),
    "build_queue with a key": lambda c, o: builders.add_build(
        c, value(c, "SELECT customer_id FROM customers"), id=o.build
    ),
    "build_results": lambda c, o: builders.add_result(c, o.build),
    "build_artifacts": lambda c, o: builders.add_artifact(c, o.result),
    "build_events": lambda c, o: builders.add_event(c, o.build),
    "build_metrics": lambda c, o: builders.add_metric(c, o.build),
    "build_manifests": lambda c, o: builders.add_manifest(c, o.customer),
    "build_manifests of a build": lambda c, o: builders.add_manifest(
        c, value(c, "SELECT customer_id FROM customers"), deployment_id=o.build
    ),
    "build_manifests pointed at a build": lambda c, o: c.execute(
        "UPDATE build_manifests SET deployment_id = %s", [o.build]
    ),
    "conversations": lambda c, o: builders.add_conversation(c, o.customer),
    "conversations about a manifest": lambda c, o: builders.add_conversation(
        c, value(c, "SELECT customer_id FROM customers"), build_manifest_id=o.manifest
    ),
    "conversations pointed at a manifest": lambda c, o: c.execute(
        "UPDATE conversations SET build_manifest_id = %s", [o.manifest]
    ),
    "conversation_messages": lambda c, o: builders.add_message(c, o.conversation),
    "conversation_intents": lambda c, o: builders.add_intent(c, o.conversation),
    "conversation_intents in a message": lambda c, o: builders.add_intent(
        c, value(c, "SELECT id FROM conversations"), message_id=o.message
    ),
    "requirement_extractions": lambda c, o: builders.add_extraction(c, o.conversation),
    "requirement_extractions into a manifest": lambda c, o: builders.add_extraction(
        c, value(c, "SELECT id FROM conversations"), build_manifest_id=o.manifest
    ),
    "requirement_extractions out of a message": lambda c, o: builders.add_extraction(
        c, value(c, "SELECT id FROM conversations"), extracted_from_message_id=o.message
    ),
    "audit_log": lambda c, o: rows(c, "SELECT * FROM audit_log WHERE customer_id = %s", o.customer),
    "admitted_tiers": lambda c, o: value(c, "SELECT admitted_tiers(%s)", o.customer),
    "cancel_build": lambda c, o: value(c, "SELECT cancel_build(%s, 'not mine')", o.build),
    "find_cached_build": lambda c, o: rows(
        c,
        "SELECT f.* FROM build_cache_registry AS e, find_cached_build(%s, e.manifest_hash) AS f",
        o.customer,
    ),
    "get_cache_hit_rate": lambda c, o: row(
        c, "SELECT total_accesses FROM get_cache_hit_rate(%s)", o.customer
    ),
    "get_license_quota_usage": lambda c, o: rows(c, "SELECT * FROM get_license_quota_usage(%s)", o.customer),
    "record_cache_access": lambda c, o: value(
        c, "SELECT record_cache_access(NULL, %s, 'cache_miss')", o.customer
    ),
    "a number of the table": lambda c, o: rows(
        c, "SELECT FROM conversation_messages WHERE id = %s FOR UPDATE", o.message
    ),
}
"""What a tenant may try with keys of another one."""


def outcome(connection: Connection, attempt: Attempt, keys: World) -> Any:
    """What an attempt comes to, in words that don't show which keys it was made with."""
    try:
        with connection.transaction(force_rollback=True):
            found = attempt(connection, keys)
            return found.rowcount if isinstance(found, psycopg.Cursor) else found
    except psycopg.Error as error:
        said = " | ".join(
            str(getattr(error.diag, part))
            for part in ("message_primary", "message_detail", "message_hint", "constraint_name", "table_name")
        )
        keys_in_words = re.compile("|".join(rf"\b{re.escape(str(key))}\b" for key in vars(keys).values()))
        return error.sqlstate, keys_in_words.sub("KEY", said)


def test_a_tenant_cannot_tell_the_key_of_another_one_from_a_key_that_nobody_has(
    connection: Connection, acting: Acting, mine: World, theirs: World
) -> None:
    before = everything_of(connection, theirs)
    differences = {}
    for name, attempt in ATTEMPTS.items():
        with acting("honua_app", mine.customer):
            with_theirs = outcome(connection, attempt, theirs)
            with_unknown = outcome(connection, attempt, unknown_world())
        if with_theirs != with_unknown:
            differences[name] = (with_theirs, with_unknown)
    assert differences == {}
    assert everything_of(connection, theirs) == before


def test_every_function_that_takes_a_key_is_tried(manifest: privileges.Manifest) -> None:
    without_keys = {"find_license_customer", "license_ends_at", "tier_rank"}
    callable_by_tenants = {name for name, roles in manifest.functions.items() if "honua_app" in roles}
    assert callable_by_tenants - without_keys <= set(ATTEMPTS)
    assert set(manifest.tables) - {"schema_migrations", "build_cache_registry"} <= set(ATTEMPTS)


def test_a_tenant_can_order_a_build_and_cancel_it(
    connection: Connection, acting: Acting, mine: World
) -> None:
    with acting("honua_app", mine.customer):
        build = builders.add_build(connection, mine.customer, target_registry_id=mine.credential)
        assert value(connection, "SELECT cancel_build(%s, 'changed my mind')", build)
        assert value(connection, "SELECT status FROM build_queue WHERE id = %s", build) == "cancelled"
        event = row(connection, "SELECT * FROM build_events WHERE build_queue_id = %s", build)
        assert (event.event_type, event.message) == ("build_cancelled", "changed my mind")


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("UPDATE build_queue SET status = 'success'", "row-level security"),
        ("UPDATE build_queue SET retry_count = 0", "permission denied"),
        ("UPDATE licenses SET max_builds_per_month = NULL", "permission denied"),
        ("UPDATE customers SET tier = 'asp'", "permission denied"),
        ("UPDATE conversations SET total_messages = 0", "permission denied"),
        ("SELECT first_built_by_customer FROM build_cache_registry", "permission denied"),
        ("SELECT total_customers_served FROM build_cache_registry", "permission denied"),
        ("SELECT get_next_build_for_worker('worker', 'host')", "permission denied"),
        ("SELECT lock_license('nobody')", "permission denied"),
    ],
)
def test_a_tenant_cannot_help_itself_to_more_than_it_paid_for(
    connection: Connection, acting: Acting, mine: World, statement: str, error: str
) -> None:
    with (
        acting("honua_app", mine.customer),
        pytest.raises(psycopg.errors.InsufficientPrivilege, match=error),
        connection.transaction(),
    ):
        connection.execute(statement.encode())


def test_a_build_ordered_for_the_past_does_not_escape_the_quota(
    connection: Connection, acting: Acting, mine: World
) -> None:
    with (
        acting("honua_app", mine.customer),
        pytest.raises(psycopg.errors.InsufficientPrivilege),
        connection.transaction(),
    ):
        builders.add_build(connection, mine.customer, queued_at="2020-01-01")


def test_even_the_owner_cannot_let_rows_point_at_those_of_another_customer(
    connection: Connection, mine: World, theirs: World
) -> None:
    for statement, key, own in (
        ("UPDATE build_queue SET target_registry_id = %s WHERE id = %s", theirs.credential, mine.build),
        ("UPDATE conversations SET build_manifest_id = %s WHERE id = %s", theirs.manifest, mine.conversation),
        ("UPDATE build_manifests SET deployment_id = %s WHERE id = %s", theirs.build, mine.manifest),
        ("UPDATE build_queue SET customer_id = %s WHERE id = %s", theirs.customer, mine.build),
        ("UPDATE registry_credentials SET customer_id = %s WHERE id = %s", theirs.customer, mine.credential),
    ):
        with pytest.raises((psycopg.errors.ForeignKeyViolation, psycopg.errors.CheckViolation)):
            connection.execute(statement.encode(), [key, own])


def test_what_is_left_of_a_deleted_customer_belongs_to_nobody(connection: Connection, mine: World) -> None:
    connection.execute("DELETE FROM customers WHERE customer_id = %s", [mine.customer])
    assert values(connection, "SELECT customer_id FROM build_manifests") == [None]
    conversation = row(connection, "SELECT * FROM conversations")
    assert (conversation.customer_id, conversation.build_manifest_id) == (None, mine.manifest)


def test_a_worker_does_its_work_and_sees_nothing_else(
    connection: Connection, acting: Acting, mine: World
) -> None:
    builders.add_build(connection, mine.customer, target_registry_id=mine.credential)
    with acting("honua_worker"):
        build = row(connection, "SELECT * FROM get_next_build_for_worker('w', 'host')")
        assert value(connection, "SELECT update_build_progress(%s, 10, 'compile')", build.build_id)
        login = row(
            connection,
            "SELECT * FROM get_build_registry_credential(%s, 'w', %s)",
            build.build_id,
            build.retry_count,
        )
        assert (login.credential_id, login.password_encrypted) == (mine.credential, b"encrypted")
        for worker, attempt in (("another", build.retry_count), ("w", build.retry_count + 1)):
            assert (
                rows(
                    connection,
                    "SELECT * FROM get_build_registry_credential(%s, %s, %s)",
                    build.build_id,
                    worker,
                    attempt,
                )
                == []
            )
        connection.execute(
            "INSERT INTO build_events (build_queue_id, event_type) VALUES (%s, 'step')", [build.build_id]
        )
        entry = builders.add_cache_entry(connection, first_built_by_customer=mine.customer)
        result = value(
            connection,
            "SELECT complete_build(%s, 'w', %s, true, 5, p_build_cache_id => %s)",
            build.build_id,
            build.retry_count,
            entry,
        )
        connection.execute(
            "INSERT INTO build_artifacts (build_result_id, artifact_type, artifact_name, storage_type,"
            " storage_url) VALUES (%s, 'sbom', 'n', 's3', 'u')",
            [result],
        )
        for table in ("build_queue", "customers", "registry_credentials", "build_events"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.transaction():
                connection.execute(sql.SQL("SELECT FROM {}").format(sql.Identifier(table)))


def test_maintenance_calls_its_functions_and_reads_no_business_data(
    connection: Connection, acting: Acting, mine: World, manifest: privileges.Manifest
) -> None:
    with acting("honua_maintenance"):
        for call in (
            "handle_build_timeouts()", "expire_licenses()", "revoke_expired_credentials()",
            "expire_old_conversations()", "cleanup_old_build_logs()", "purge_soft_deleted_records()",
            "ensure_log_partitions()", "drop_old_log_partitions('audit_log', 12)", "release_delayed_builds()",
        ):  # fmt: skip
            connection.execute(f"SELECT * FROM {call}".encode())
        assert value(connection, "SELECT cancel_build(%s)", mine.build)
        for table in ("customers", "conversations", "build_results"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.transaction():
                connection.execute(f"SELECT FROM {table}".encode())


STEP_AT = (
    "INSERT INTO build_events (build_queue_id, event_type, event_timestamp)"
    " SELECT id, 'step_started', '{}' FROM build_queue"
)


@pytest.mark.parametrize(
    "columns",
    [
        {"queued_at": "infinity"},
        {"queued_at": "2200-01-01"},
        {"started_at": "1950-01-01"},
        {"timeout_at": "infinity"},
        {"worker_id": "w", "completed_at": "2026-01-01"},
    ],
)
def test_a_tenant_says_nothing_of_a_build_that_workers_say(
    connection: Connection, acting: Acting, mine: World, columns: dict[str, Any]
) -> None:
    with (
        acting("honua_app", mine.customer),
        pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"),
        connection.transaction(),
    ):
        builders.add_build(connection, mine.customer, **columns)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE build_queue SET status = 'cancelled'",
        "UPDATE build_queue SET status = 'cancelled', completed_at = '1950-01-01'",
        "INSERT INTO conversations (customer_id, last_message_at) VALUES (%(customer)s, '1950-01-01')",
        STEP_AT.format("1950-01-01"),
        STEP_AT.format("infinity"),
    ],
)
def test_a_tenant_writes_no_time_that_cannot_be(
    connection: Connection, acting: Acting, mine: World, statement: str
) -> None:
    with (
        acting("honua_app", mine.customer),
        pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"),
        connection.transaction(),
    ):
        connection.execute(statement.encode(), {"customer": mine.customer})
