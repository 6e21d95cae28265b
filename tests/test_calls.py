"""The typed Python functions call the SQL functions, on every kind of session and connection."""

from __future__ import annotations

import asyncio
import datetime
import inspect
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID, uuid4

import psycopg
import pytest
from sqlalchemy import NullPool, create_engine
from sqlalchemy.exc import DataError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from builders import (
    MANIFEST,
    add_build,
    add_cache_access,
    add_cache_entry,
    add_conversation,
    add_customer,
    add_license,
    add_registry_credential,
    add_result,
)
from honua_schema import cache, intake, licenses, maintenance, queue
from honua_schema.calls import SqlFunction

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import URL

    Connection = psycopg.Connection[Any]

MODULES = (cache, intake, licenses, maintenance, queue)
CONVENIENCES = {"claim", "report_progress", "heartbeat", "complete", "fail"}
FUNCTIONS = {
    name: each
    for module in MODULES
    for name, each in vars(module).items()
    if isinstance(each, SqlFunction) and name not in CONVENIENCES
}
INTERNAL = {
    # called by triggers, policies and other functions
    "admit_builds", "admitted_tiers", "claim_bound", "count_cache_accesses", "license_ends_at",
    "lock_license", "log_time_column", "lower_claim_bound", "missing_log_months", "raise_claim_bounds",
    "release_delayed_builds", "tier_rank", "write_audit_log",
    # called by honua_schema.audit
    "hash_audit_log", "seal_audit_log", "verify_audit_log",
}  # fmt: skip


class Call(Protocol):
    """Calls a function on a session or connection of one kind, and commits."""

    def __call__(self, function: Any, *arguments: Any, **named: Any) -> Any: ...


@pytest.fixture(params=["Session", "Connection", "AsyncSession", "AsyncConnection"])
def call(request: pytest.FixtureRequest, database: URL) -> Iterator[Call]:
    """Call functions on each kind of session and connection in turn."""
    engine = create_engine(database)
    async_engine = create_async_engine(database, poolclass=NullPool)

    def synchronously(function: Any, *arguments: Any, **named: Any) -> Any:
        with Session(engine) if request.param == "Session" else engine.connect() as target:
            answer = function(target, *arguments, **named)
            target.commit()
            return answer

    def asynchronously(function: Any, *arguments: Any, **named: Any) -> Any:
        async def run() -> Any:
            target = AsyncSession(async_engine) if request.param == "AsyncSession" else async_engine.connect()
            async with target as opened:
                answer = await function(opened, *arguments, **named)
                await opened.commit()
                return answer

        return asyncio.run(run())

    yield asynchronously if request.param.startswith("Async") else synchronously
    engine.dispose()


@pytest.fixture
def session(database: URL) -> Iterator[Session]:
    engine = create_engine(database)
    with Session(engine) as session:
        yield session
    engine.dispose()


def sql_functions(connection: Connection) -> dict[str, list[tuple[str, bool]]]:
    """Return the parameters of each SQL function, without the p_, and whether each has a default."""
    functions = connection.execute(
        """
        SELECT p.proname, p.pronargs AS count, p.pronargs - p.pronargdefaults AS required,
            p.proargnames AS names
        FROM pg_proc AS p
        WHERE p.pronamespace = 'public'::regnamespace
          AND p.prorettype <> 'trigger'::regtype
          AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = p.oid AND d.deptype = 'e')
        """
    )
    return {
        row.proname: [
            (name.removeprefix("p_"), number >= row.required)
            for number, name in enumerate((row.names or [])[: row.count])
        ]
        for row in functions
    }


def python_parameters(function: SqlFunction[Any, Any]) -> list[tuple[str, bool]]:
    """Return a function's parameters and whether each has a default; details are parameters of their own."""
    parameters: list[tuple[str, bool]] = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            parameters.extend((name, True) for name in queue.BuildDetails.__annotations__)
        else:
            parameters.append((parameter.name, parameter.default is not parameter.empty))
    return parameters


def test_every_sql_function_for_applications_has_one_in_python_with_the_same_parameters(
    connection: Connection,
) -> None:
    declared = sql_functions(connection)

    assert declared.keys() >= INTERNAL
    assert {name: python_parameters(each) for name, each in FUNCTIONS.items()} == {
        name: parameters for name, parameters in declared.items() if name not in INTERNAL
    }


def test_every_function_says_what_it_does_and_what_it_takes() -> None:
    for name in (*FUNCTIONS, *CONVENIENCES):
        function = FUNCTIONS.get(name) or vars(queue)[name]
        documentation = inspect.getdoc(function)
        assert documentation, name
        for parameter in inspect.signature(function).parameters:
            assert f"  {parameter}: " in documentation or f"  **{parameter}: " in documentation, name


def test_a_build_from_order_to_success(call: Call, connection: Connection) -> None:
    customer = add_customer(connection)
    order = add_build(connection, customer, priority=8, build_args={"debug": True})

    build = call(queue.claim, "worker-1", "host-1", "amd64")
    assert call(queue.claim, "worker-2", "host-2") is None
    row = connection.execute("SELECT * FROM build_queue").fetchone()
    assert build == queue.ClaimedBuild(
        build_id=order,
        manifest_json=MANIFEST,
        customer_id=customer,
        priority=8,
        retry_count=0,
        manifest_hash=row.manifest_hash,
        build_args={"debug": True},
        target_registry_id=None,
        timeout_at=row.timeout_at,
        worker_id="worker-1",
    )

    assert call(queue.report_progress, build, 40, "compile", 2) is True
    assert call(queue.heartbeat, build) is True
    row = connection.execute("SELECT * FROM build_queue").fetchone()
    assert (row.progress_percent, row.current_step, row.steps_completed) == (40, "compile", 2)

    result_id = call(
        queue.complete, build, 12.5, image_tags=["1.0"], final_image_size_bytes=2**40, peak_cpu_percent=99.5
    )
    result = connection.execute("SELECT * FROM build_results").fetchone()
    assert result.id == result_id == call(queue.complete, build, 12.5)
    assert (result.success, result.actual_duration_seconds) == (True, Decimal("12.50"))
    assert (result.image_tags, result.final_image_size_bytes) == (["1.0"], 2**40)
    assert result.peak_cpu_percent == Decimal("99.50")


def test_a_build_that_fails_and_is_retried(call: Call, connection: Connection) -> None:
    order = add_build(connection)
    build = call(queue.claim, "worker-1", "host-1")

    assert call(queue.fail, build, Decimal(3), error_message="no space", error_code="E1")
    assert call(queue.retry_failed_build, order, datetime.timedelta(0)) is True
    assert call(queue.retry_failed_build, order) is False
    again = call(queue.claim, "worker-1", "host-1")

    assert (again.build_id, again.retry_count) == (order, 1)
    result = connection.execute("SELECT * FROM build_results").fetchone()
    assert (result.success, result.error_message, result.error_code) == (False, "no space", "E1")


def test_a_late_worker_changes_nothing(call: Call, connection: Connection) -> None:
    order = add_build(connection)
    late = call(queue.claim, "worker-1", "host-1")
    connection.execute("UPDATE build_queue SET timeout_at = now()")
    (ended,) = call(queue.handle_build_timeouts)
    assert ended == queue.TimedOutBuild(order, late.customer_id, "worker-1")
    call(queue.retry_failed_build, order)
    current = call(queue.claim, "worker-1", "host-1")

    assert call(queue.report_progress, late, 50) is False
    assert call(queue.heartbeat, late) is False
    assert call(queue.complete, late, 1) is None
    assert call(queue.fail, late, 1) is None

    assert call(queue.heartbeat, current) is True
    assert connection.execute("SELECT count(*) FROM build_results").fetchone() == (0,)


def test_a_batch_is_claimed_at_once(call: Call, connection: Connection) -> None:
    orders = {add_build(connection) for _ in range(3)}

    builds = call(queue.get_next_build_for_worker, "worker-1", None, batch_size=10)

    assert {build.build_id for build in builds} == orders


def test_a_delayed_retry_is_not_claimed_yet(call: Call, connection: Connection) -> None:
    order = add_build(connection, status="failed")

    assert call(queue.retry_failed_build, order, delay=datetime.timedelta(minutes=5))

    assert call(queue.claim, "worker-1", "host-1") is None


def test_a_build_is_cancelled(call: Call, connection: Connection) -> None:
    order = add_build(connection)

    assert call(queue.cancel_build, order, reason="the customer left") is True
    assert call(queue.cancel_build, order) is False
    assert call(queue.cancel_build, uuid4()) is False


def test_anybody_may_report_and_complete_by_the_ids_alone(call: Call, connection: Connection) -> None:
    order = add_build(connection)
    call(queue.claim, "worker-1", "host-1")

    assert call(queue.update_build_progress, order, 10, "compile", retry_count=0) is True
    assert call(queue.update_build_progress, order, 10, "compile", worker_id="worker-2") is False
    assert isinstance(call(queue.complete_build, order, "worker-1", 0, True, 1), UUID)


def test_a_worker_that_holds_a_build_gets_the_login_to_its_registry(
    call: Call, connection: Connection
) -> None:
    customer = add_customer(connection)
    credential = add_registry_credential(connection, customer, is_default=True)
    add_build(connection, customer)
    build = call(queue.claim, "worker-1", "host-1")

    login = call(queue.get_build_registry_credential, build.build_id, build.worker_id, build.retry_count)

    assert login == queue.BuildRegistryCredential(
        credential, customer, "https://ghcr.io", "ghcr", b"encrypted", b"encrypted"
    )
    assert call(queue.get_build_registry_credential, build.build_id, "worker-2", 0) is None


def test_a_cached_build_is_found_and_its_use_recorded(call: Call, connection: Connection) -> None:
    customer = add_customer(connection, subscription_status="active")
    entry = add_cache_entry(connection, manifest_hash="abc")

    assert call(cache.find_cached_build, customer, "abc") == [
        cache.CachedBuild(entry, "ghcr.io/honua/server:1.0", "core", "amd64", MANIFEST["modules"])
    ]
    assert call(cache.find_cached_build, customer, "abc", architecture="arm64") == []
    recorded = call(
        cache.record_cache_access,
        entry,
        customer,
        "cache_hit",
        pull_duration_seconds=1.25,
        download_size_bytes=2**40,
        ip_address="192.0.2.1",
    )
    (row,) = connection.execute("SELECT * FROM build_access_log").fetchall()
    assert (row.id, row.pull_duration_seconds, row.download_size_bytes) == (recorded, Decimal("1.25"), 2**40)


def test_the_hit_rate_is_counted(call: Call, connection: Connection) -> None:
    customer = add_customer(connection)
    add_cache_access(connection, add_cache_entry(connection), customer)
    for _ in range(3):
        add_cache_access(connection, None, customer)

    assert call(cache.get_cache_hit_rate, customer, 7) == cache.CacheHitRate(customer, 4, 1, 3, Decimal(25))
    assert call(cache.get_cache_hit_rate, "nobody").hit_rate_percent is None
    assert call(cache.get_cache_hit_rate).total_accesses == 4


def test_the_quota_is_shown(call: Call, connection: Connection) -> None:
    customer = add_customer(connection)
    assert call(licenses.get_license_quota_usage, customer) is None
    add_license(connection, customer, max_builds_per_month=4, max_registries=None, max_concurrent_builds=2)
    add_build(connection, customer)

    assert call(licenses.get_license_quota_usage, customer) == licenses.LicenseQuotaUsage(
        4, 1, 3, Decimal(25), None, 0, 2, 0
    )


def test_a_licence_is_found_by_its_key(call: Call, connection: Connection) -> None:
    customer = add_customer(connection)
    add_license(connection, customer, license_key_hash="f" * 64)

    assert call(licenses.find_license_customer, "f" * 64) == customer
    assert call(licenses.find_license_customer, "e" * 64) is None


def test_licences_that_have_ended_expire(call: Call, connection: Connection) -> None:
    ended_at = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    customer = add_customer(connection)
    license_id = add_license(connection, customer, issued_at="2025-01-01", expires_at=ended_at)

    assert call(licenses.expire_licenses) == [licenses.ExpiredLicense(license_id, customer, ended_at)]
    assert call(licenses.expire_licenses) == []


def test_credentials_that_failed_for_long_are_revoked(call: Call, connection: Connection) -> None:
    credential = add_registry_credential(
        connection, validation_status="invalid", last_validated_at="2026-01-01"
    )

    (revoked,) = call(maintenance.revoke_expired_credentials, 7)

    assert (revoked.credential_id, revoked.registry_name) == (credential, "GitHub")


def test_silent_conversations_are_abandoned(call: Call, connection: Connection) -> None:
    conversation = add_conversation(connection, started_at="2026-01-01", customer_email="maps@example.org")

    (abandoned,) = call(intake.expire_old_conversations)

    assert (abandoned.conversation_id, abandoned.customer_email) == (conversation, "maps@example.org")


def test_old_logs_are_emptied(call: Call, connection: Connection) -> None:
    for _ in range(3):
        add_result(connection, stdout_log="long", created_at="2025-01-01")

    assert call(maintenance.cleanup_old_build_logs, limit=2) == 2
    assert call(maintenance.cleanup_old_build_logs, 30) == 1


def test_what_was_deleted_softly_is_purged(call: Call, connection: Connection) -> None:
    add_customer(connection, deleted_at="2025-01-01")

    purged = call(maintenance.purge_soft_deleted_records, 30, limit=10)

    assert maintenance.PurgedRecords("customers", 1) in purged


def test_log_partitions_are_made_and_dropped(call: Call, connection: Connection) -> None:
    made = call(maintenance.ensure_log_partitions, 1)

    assert {each.table_name for each in made} == {
        "build_access_log",
        "build_events",
        "build_metrics",
        "audit_log",
    }
    assert all(isinstance(each.month, datetime.date) for each in made)
    assert call(maintenance.ensure_log_partitions, 1) == []
    assert call(maintenance.drop_old_log_partitions, "build_events", 12) == []


def test_a_refusal_carries_code_message_hint_and_rule(session: Session, connection: Connection) -> None:
    entry, customer = add_cache_entry(connection), add_customer(connection)

    with pytest.raises(DataError) as bad_argument:
        queue.claim(session, "", "host-1")
    session.rollback()
    with pytest.raises(IntegrityError) as broken_rule:
        cache.record_cache_access(session, entry, customer, "borrowed")

    for error, code in ((bad_argument.value.orig, "22023"), (broken_rule.value.orig, "23514")):
        assert isinstance(error, psycopg.Error)
        assert error.sqlstate == code
    assert bad_argument.value.orig.diag.message_hint
    assert broken_rule.value.orig.diag.constraint_name == "ck_build_access_log_access_type_allowed"


@pytest.mark.parametrize("number", [2**31, 2**40, 2**64, -(2**70)])
def test_a_number_that_is_too_large_is_refused_as_such(session: Session, number: int) -> None:
    with pytest.raises(DataError) as refused:
        licenses.expire_licenses(session, limit=number)
    assert isinstance(refused.value.orig, psycopg.Error)
    assert refused.value.orig.sqlstate == "22003"


def test_a_number_is_taken_up_to_the_size_of_its_column(session: Session, connection: Connection) -> None:
    entry, customer = add_cache_entry(connection), add_customer(connection)
    record = (session, entry, customer, "cache_hit")

    cache.record_cache_access(*record, download_size_bytes=2**63 - 1, pull_duration_seconds=0.1)
    session.commit()
    with pytest.raises(DataError, match="out of range for type bigint"):
        cache.record_cache_access(*record, download_size_bytes=2**63)
    session.rollback()
    with pytest.raises(DataError, match="numeric field overflow"):
        cache.record_cache_access(*record, pull_duration_seconds=1e22)

    row = connection.execute("SELECT * FROM build_access_log").fetchone()
    assert (row.download_size_bytes, row.pull_duration_seconds) == (2**63 - 1, Decimal("0.10"))


def test_a_fraction_is_refused_where_a_whole_number_is_needed(session: Session) -> None:
    limit: Any = 2.5
    with pytest.raises(DataError, match="integer"):
        licenses.expire_licenses(session, limit=limit)


def test_details_that_do_not_exist_are_refused_before_they_reach_the_server(session: Session) -> None:
    details: dict[str, Any] = {"exit_code => 1, p_stdout_log": "x"}

    with pytest.raises(TypeError, match="unknown details"):
        queue.complete_build(session, uuid4(), "worker-1", 0, True, 1, **details)


def test_an_older_package_reads_only_the_columns_that_it_knows(
    session: Session, connection: Connection
) -> None:
    connection.execute(
        "DROP FUNCTION expire_licenses;"
        " CREATE FUNCTION expire_licenses(p_limit integer) RETURNS TABLE (news text, license_id uuid,"
        " customer_id varchar, expired_at timestamptz) LANGUAGE sql"
        " AS $$ SELECT 'new', gen_random_uuid(), 'c', now() $$"
    )

    (expired,) = licenses.expire_licenses(session)

    assert expired.customer_id == "c"


TYPED = """
from typing import assert_type
from uuid import UUID

from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.orm import Session

from honua_schema import cache, queue


def synchronously(session: Session, connection: Connection, build: queue.ClaimedBuild) -> None:
    assert_type(queue.claim(session, "worker-1", "host-1"), queue.ClaimedBuild | None)
    assert_type(queue.handle_build_timeouts(connection), list[queue.TimedOutBuild])
    assert_type(cache.get_cache_hit_rate(session, days=3), cache.CacheHitRate)
    assert_type(queue.complete(session, build, 1.5, exit_code=0), UUID | None)
    queue.cancel_build(session, "no uuid")  # type: ignore[call-overload]
    queue.complete(session, build, 1.5, exit=0)  # type: ignore[call-overload]


async def asynchronously(session: AsyncSession, connection: AsyncConnection) -> None:
    build = await queue.claim(session, "worker-1", "host-1")
    assert_type(build, queue.ClaimedBuild | None)
    if build:
        assert_type(await queue.heartbeat(connection, build), bool)
        queue.heartbeat(connection, build)  # type: ignore[unused-coroutine]
"""


def test_a_type_checker_knows_the_types_of_arguments_and_answers(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(TYPED)

    # An error that is not there any more is an error too.
    check = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", program],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )

    assert check.stdout + check.stderr == ""
