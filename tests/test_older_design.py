"""What the older SQL got wrong, one test for each defect: none of them may come back.

The numbers are those of the list of defects in docs/decisions.md.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from alembic import command
from alembic.config import Config

from builders import add_build, add_cache_entry, add_customer, add_license, add_registry_credential
from honua_schema import MigrationRunner

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import URL

    Connection = psycopg.Connection[Any]
    Connect = Callable[..., Connection]


@pytest.fixture
def customer(connection: Connection) -> str:
    return add_customer(connection, "c")


def one(connection: Connection, query: str, parameters: Any = None) -> Any:
    return connection.execute(query, parameters).fetchone()  # type: ignore[call-overload]


def test_01_a_customer_has_one_live_default_registry(connection: Connection, customer: str) -> None:
    add_registry_credential(connection, customer, is_default=True)
    with pytest.raises(psycopg.errors.UniqueViolation) as refused:
        add_registry_credential(connection, customer, is_default=True)
    assert refused.value.diag.constraint_name == "uq_registry_credentials_live_default"
    connection.execute("UPDATE registry_credentials SET revoked_at = now()")
    add_registry_credential(connection, customer, is_default=True)


def test_02_every_index_predicate_is_immutable(connection: Connection) -> None:
    predicates = connection.execute(
        "SELECT pg_get_expr(indpred, indrelid) AS predicate FROM pg_index WHERE indpred IS NOT NULL"
    ).fetchall()
    assert len(predicates) > 10
    assert [row.predicate for row in predicates if "now(" in row.predicate.lower()] == []


def test_03_a_failed_upgrade_says_so_and_a_good_one_is_recorded(new_database: Callable[..., URL]) -> None:
    runner = MigrationRunner(new_database(empty=True))
    result = runner.apply_migrations()
    assert result.success
    assert [each.version for each in runner.get_applied_migrations()] == [
        each.version for each in runner.get_available_migrations()
    ]
    unknown = runner.apply_migrations("999")
    assert not unknown.success
    assert "999" in unknown.errors[0]


def test_04_functions_do_not_confuse_their_results_with_columns(
    connection: Connection, customer: str
) -> None:
    build = add_build(connection, customer)
    assert one(connection, "SELECT * FROM get_next_build_for_worker('w', 'h')").build_id == build
    add_registry_credential(
        connection, customer, registry_name="old", validation_status="invalid", last_validated_at="2020-01-01"
    )
    revoked = one(connection, "SELECT * FROM revoke_expired_credentials()")
    assert (revoked.customer_id, revoked.registry_name) == (customer, "old")


def test_05_registries_do_not_multiply_builds_and_unlimited_is_null(
    connection: Connection, customer: str
) -> None:
    add_license(connection, customer, max_builds_per_month=10, max_registries=None)
    for _ in range(3):
        add_registry_credential(connection, customer)
    add_build(connection, customer)
    add_build(connection, customer)
    usage = one(connection, "SELECT * FROM get_license_quota_usage('c')")
    assert (usage.builds_this_month, usage.remaining_builds, usage.active_registries) == (2, 8, 3)
    connection.execute("UPDATE licenses SET max_builds_per_month = NULL")
    unlimited = one(connection, "SELECT * FROM get_license_quota_usage('c')")
    assert (unlimited.remaining_builds, unlimited.quota_utilization_percent) == (None, None)


def test_06_a_customer_without_builds_has_none(connection: Connection, customer: str) -> None:
    usage = one(connection, "SELECT * FROM customer_build_usage WHERE customer_id = 'c'")
    assert (usage.total_builds, usage.builds_this_month, usage.successful_builds) == (0, 0, 0)


@pytest.mark.parametrize("size", [2_700, 50_000, 3_000_000])
def test_07_a_long_message_is_stored(connection: Connection, size: int) -> None:
    # Words of their own, so that compression does not make a long message short.
    content = "".join(f"{number:x} " for number in range(size // 4))[:size]
    connection.execute("INSERT INTO conversations DEFAULT VALUES")
    connection.execute(
        "INSERT INTO conversation_messages (conversation_id, role, content, sequence_number)"
        " SELECT id, 'user', %s, 1 FROM conversations",
        [content],
    )
    assert one(connection, "SELECT content FROM conversation_messages").content == content


def test_08_a_manifest_hash_holds_sixty_four_characters(connection: Connection, customer: str) -> None:
    sha256 = "0123456789abcdef" * 4
    add_build(connection, customer, manifest_hash=sha256)
    add_cache_entry(connection, manifest_hash=sha256)
    connection.execute(
        "INSERT INTO build_manifests (manifest_json, manifest_hash) VALUES ('{}', %s)", [sha256]
    )
    assert one(connection, "SELECT manifest_hash FROM build_manifests").manifest_hash == sha256


def test_09_a_deleted_cache_entry_makes_room_for_its_successor(connection: Connection) -> None:
    first = add_cache_entry(connection, manifest_hash="h")
    with pytest.raises(psycopg.errors.UniqueViolation) as refused:
        add_cache_entry(connection, manifest_hash="h")
    assert refused.value.diag.constraint_name == "uq_build_cache_registry_live_entry"
    connection.execute("UPDATE build_cache_registry SET deleted_at = now()")
    assert add_cache_entry(connection, manifest_hash="h") != first
    add_cache_entry(connection, manifest_hash="h", tier="pro")
    add_cache_entry(connection, manifest_hash="h", architecture="arm64")


def test_10_the_last_retry_allowed_is_claimed(connection: Connection, customer: str) -> None:
    build = add_build(connection, customer, max_retries=1)
    connection.execute("SELECT * FROM get_next_build_for_worker('w', 'h')")
    connection.execute("SELECT complete_build(%s, 'w', 0, false, 1)", [build])
    assert one(connection, "SELECT retry_failed_build(%s) AS done", [build]).done
    claimed = one(connection, "SELECT * FROM get_next_build_for_worker('w', 'h')")
    assert (claimed.build_id, claimed.retry_count) == (build, 1)


def test_11_a_trial_without_an_end_of_its_own_ends_with_the_licence(
    connection: Connection, customer: str
) -> None:
    add_license(connection, customer, status="trial", issued_at="2020-01-01", expires_at="2021-01-01")
    with pytest.raises(psycopg.errors.CheckViolation, match="expired"):
        add_build(connection, customer)
    assert one(connection, "SELECT * FROM expire_licenses()").customer_id == customer
    assert one(connection, "SELECT status FROM licenses").status == "expired"


def test_12_customers_served_is_exact_and_outlives_the_log(connection: Connection, customer: str) -> None:
    entry = add_cache_entry(connection)
    add_customer(connection, "d")
    for who in (customer, customer, "d"):
        connection.execute("SELECT record_cache_access(%s, %s, 'cache_hit')", [entry, who])
    connection.execute("TRUNCATE build_access_log")
    connection.execute("SELECT record_cache_access(%s, %s, 'cache_hit')", [entry, customer])
    row = one(connection, "SELECT cache_hit_count, total_customers_served FROM build_cache_registry")
    assert row[:] == (4, 2)


def test_13_every_foreign_key_is_indexed(connection: Connection) -> None:
    keys = connection.execute(
        "SELECT conrelid::regclass::text AS table_name, conkey FROM pg_constraint"
        " WHERE contype = 'f' AND conparentid = 0 AND connamespace = 'public'::regnamespace"
    ).fetchall()
    assert len(keys) >= 20
    for key in keys:
        leading = connection.execute(
            "SELECT (indkey::int2[])[0:cardinality(%s::int2[]) - 1] AS leading FROM pg_index"
            " WHERE indrelid = %s::regclass",
            [key.conkey, key.table_name],
        ).fetchall()
        assert any(set(row.leading) == set(key.conkey) for row in leading), key


@pytest.mark.parametrize("time_zone", ["Pacific/Kiritimati", "Etc/GMT+12", "UTC"])
def test_14_a_month_is_a_month_in_utc(connection: Connection, customer: str, time_zone: str) -> None:
    connection.execute(f"SET TIME ZONE '{time_zone}'")
    add_license(connection, customer, max_builds_per_month=1)
    start = one(connection, "SELECT date_trunc('month', now(), 'UTC') AS month").month
    add_build(connection, customer, queued_at=start)
    connection.execute(
        "INSERT INTO build_queue (customer_id, manifest_path, manifest_hash, manifest_json, queued_at)"
        " VALUES ('c', '/m', 'h', '{}', date_trunc('month', now(), 'UTC') - interval '1 second')"
    )
    with pytest.raises(psycopg.errors.CheckViolation) as refused:
        add_build(connection, customer)
    assert refused.value.diag.constraint_name == "max_builds_per_month"
    assert one(connection, "SELECT builds_this_month FROM get_license_quota_usage('c')")[0] == 1


def test_15_a_late_worker_changes_nothing(connection: Connection, customer: str) -> None:
    build = add_build(connection, customer)
    connection.execute("SELECT * FROM get_next_build_for_worker('early', 'h')")
    connection.execute("UPDATE build_queue SET timeout_at = now()")
    assert one(connection, "SELECT * FROM handle_build_timeouts()").worker_id == "early"
    connection.execute("SELECT retry_failed_build(%s)", [build])
    connection.execute("SELECT * FROM get_next_build_for_worker('late', 'h')")

    assert one(connection, "SELECT complete_build(%s, 'early', 0, true, 1) AS id", [build]).id is None
    assert not one(
        connection, "SELECT update_build_progress(%s, 90, 'push', 1, 'early', 0) AS held", [build]
    ).held
    row = one(connection, "SELECT status, worker_id, retry_count, progress_percent FROM build_queue")
    assert row[:] == ("building", "late", 1, 0)


def test_16_limits_hold_under_concurrency(connect: Connect, connection: Connection, customer: str) -> None:
    add_license(connection, customer, max_builds_per_month=5, max_concurrent_builds=2, max_registries=3)

    def insert_until_refused(client: Connection) -> None:
        for add in (add_build, add_registry_credential):
            with suppress(psycopg.errors.CheckViolation):
                for _ in range(3):
                    add(client, customer)

    clients = [connect() for _ in range(8)]
    threads = [threading.Thread(target=insert_until_refused, args=[client]) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert one(connection, "SELECT count(*) FROM build_queue")[0] == 5
    assert one(connection, "SELECT count(*) FROM registry_credentials")[0] == 3
    claimed = connection.execute("SELECT * FROM get_next_build_for_worker('w', 'h', NULL, 100)").fetchall()
    assert len(claimed) == 2


@pytest.mark.parametrize(
    ("tier", "admitted"),
    [("core", ["core"]), ("pro", ["core", "pro"]), ("asp", ["core", "pro", "enterprise", "asp"])],
)
def test_17_a_cached_build_of_a_higher_tier_is_not_offered(
    connection: Connection, customer: str, tier: str, admitted: list[str]
) -> None:
    connection.execute("UPDATE customers SET tier = %s, subscription_status = 'active'", [tier])
    for entry_tier in ("core", "pro", "enterprise", "asp"):
        connection.execute("UPDATE build_cache_registry SET deleted_at = now()")
        add_cache_entry(connection, manifest_hash="h", tier=entry_tier)
        found = one(connection, "SELECT * FROM find_cached_build('c', 'h', 'amd64')")
        assert (found is not None) == (entry_tier in admitted)


def test_20_two_upgrades_at_once_do_not_collide(new_database: Callable[..., URL]) -> None:
    url = new_database(empty=True)
    results = []

    def upgrade() -> None:
        results.append(MigrationRunner(url).apply_migrations())

    threads = [threading.Thread(target=upgrade) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [result.errors for result in results] == [[], []]
    head = len(MigrationRunner(url).get_available_migrations())
    assert sorted(len(result.applied_migrations) for result in results) == [0, head]


@pytest.mark.parametrize(
    "call",
    [
        "cleanup_old_build_logs({})", "purge_soft_deleted_records({})", "expire_old_conversations({})",
        "revoke_expired_credentials({})", "drop_old_log_partitions('build_events', {})",
    ],
)  # fmt: skip
@pytest.mark.parametrize("period", ["0", "-1", "NULL"])
def test_21_a_senseless_retention_is_refused(connection: Connection, call: str, period: str) -> None:
    with pytest.raises(psycopg.Error) as refused:
        connection.execute(f"SELECT * FROM {call.format(period)}")
    assert refused.value.sqlstate in ("22023", "22004")
    assert refused.value.diag.message_hint


def test_22_the_default_registry_of_the_product_is_allowed(connection: Connection, customer: str) -> None:
    add_registry_credential(connection, customer, registry_provider="ghcr")
    assert one(connection, "SELECT registry_provider FROM registry_credentials")[0] == "ghcr"


def test_03_an_upgrade_by_alembic_alone_is_recorded_too(new_database: Callable[..., URL]) -> None:
    url = new_database(empty=True)
    config = Config()
    config.set_main_option("script_location", "honua_schema:")
    config.attributes["url"] = url
    command.upgrade(config, "head")
    applied = MigrationRunner(url).get_applied_migrations()
    assert [len(each.checksum) for each in applied] == [64] * len(applied)
    assert len(applied) >= 5


def test_05_utilisation_may_exceed_a_hundred_percent(connection: Connection, customer: str) -> None:
    for _ in range(3):
        add_build(connection, customer)
    add_license(connection, customer, max_builds_per_month=2)
    usage = one(connection, "SELECT * FROM get_license_quota_usage('c')")
    assert usage.quota_utilization_percent == Decimal("150.00")
    assert usage.remaining_builds == 0
