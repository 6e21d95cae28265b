"""Seals over the audit log: what was sealed cannot be changed, removed or added to without it showing."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import IsolationLevel, errors

from builders import add_build, add_customer
from queries import row, rows, value, values

if TYPE_CHECKING:
    from collections.abc import Callable

    Connection = psycopg.Connection[Any]
    Connect = Callable[..., Connection]

OLD_RECORD = (
    "INSERT INTO audit_log (occurred_at, table_name, operation, row_id, actor, transaction_id)"
    " VALUES (%s, 'customers', 'UPDATE', gen_random_uuid(), 'ada', 1)"
)


def states(connection: Connection) -> list[str]:
    return values(connection, "SELECT state FROM verify_audit_log()")


def tamper(connection: Connection, statement: str) -> None:
    """Do what only the owner of the tables can: switch the triggers off."""
    connection.execute("ALTER TABLE audit_log DISABLE TRIGGER USER")
    connection.execute(statement.encode())
    connection.execute("ALTER TABLE audit_log ENABLE TRIGGER USER")


@pytest.fixture
def sealed(connection: Connection) -> Connection:
    """A log with three seals, over three records each at least."""
    for _ in range(3):
        for _ in range(3):
            add_customer(connection)
        rows(connection, "SELECT * FROM seal_audit_log()")
    return connection


def test_a_seal_covers_what_was_recorded_since_the_one_before(connection: Connection) -> None:
    recorded = value(connection, "SELECT count(*) FROM audit_log")
    add_customer(connection)
    first = row(connection, "SELECT * FROM seal_audit_log()")
    add_customer(connection)
    second = row(connection, "SELECT * FROM seal_audit_log()")

    assert (first.after_id, first.records) == (0, recorded + 1)
    assert (second.after_id, second.records) == (first.last_id, 2)  # the first seal is a record too
    assert states(connection) == ["intact", "intact"]


def test_nothing_new_needs_no_seal(sealed: Connection) -> None:
    assert rows(sealed, "SELECT * FROM seal_audit_log()") == []


def test_a_limit_is_kept_and_the_next_seal_goes_on_from_there(connection: Connection) -> None:
    for _ in range(5):
        add_customer(connection)
    assert row(connection, "SELECT * FROM seal_audit_log(2)").records == 2
    while rows(connection, "SELECT * FROM seal_audit_log(2)"):
        pass
    assert set(states(connection)) == {"intact"}
    last_change = value(connection, "SELECT max(id) FROM audit_log WHERE operation <> 'SEAL'")
    assert value(connection, "SELECT max(last_id) FROM verify_audit_log()") >= last_change


def test_a_seal_is_made_for_each_month_that_has_records_to_seal_and_no_other(
    connection: Connection,
) -> None:
    old, now = rows(connection, "SELECT now() - interval '3 months' UNION ALL SELECT now()")
    for (occurred_at,) in (old, now):
        connection.execute(OLD_RECORD, [occurred_at])

    first = row(connection, "SELECT * FROM seal_audit_log(1)")
    assert (first.month, first.records) == (old[0].astimezone(UTC).date().replace(day=1), 1)
    second = row(connection, "SELECT * FROM seal_audit_log()")
    assert (second.month, second.records) == (now[0].astimezone(UTC).date().replace(day=1), 2)
    assert states(connection) == ["intact", "intact"]


FORGED = "INSERT INTO audit_log (id, occurred_at, table_name, operation, row_id, actor, transaction_id) "
TAMPERING = {
    "UPDATE audit_log SET actor = 'bob' WHERE id = 5": ["intact", "changed", "intact"],
    "UPDATE audit_log SET new_values = '{}' WHERE id = 5": ["intact", "changed", "intact"],
    "UPDATE audit_log SET occurred_at = occurred_at - interval '1 s' WHERE id = 5": [
        "intact", "changed", "intact"
    ],
    "DELETE FROM audit_log WHERE id = 4": ["changed", "intact", "not covered"],
    "DELETE FROM audit_log WHERE id = 6": ["intact", "changed", "intact"],
    "UPDATE audit_log SET new_values = new_values || '{\"sha256\": \"00\"}' WHERE id = 4": [
        "changed", "out of chain", "intact"
    ],
    "DELETE FROM audit_log WHERE id = 8": ["intact", "out of chain", "not covered"],
    FORGED + "VALUES (2, now(), 'licenses', 'UPDATE', gen_random_uuid(), 'bob', 1)": [
        "changed", "intact", "intact"
    ],
    FORGED + "VALUES (2, now() - interval '70 d', 'licenses', 'UPDATE', gen_random_uuid(), 'bob', 1)": [
        "intact", "intact", "intact", "not covered"
    ],
    FORGED + "VALUES (-1, now(), 'licenses', 'UPDATE', gen_random_uuid(), 'bob', 1)": [
        "intact", "intact", "intact", "not covered"
    ],
    # Retention would have left the records of this month.
    "DELETE FROM audit_log WHERE id <> 12;"
    "UPDATE audit_log SET occurred_at = occurred_at + interval '40 d'": ["changed"],
}  # fmt: skip


@pytest.mark.parametrize("statement", TAMPERING)
def test_tampering_shows(sealed: Connection, statement: str) -> None:
    assert values(sealed, "SELECT id FROM audit_log WHERE operation = 'SEAL' ORDER BY id") == [4, 8, 12]
    tamper(sealed, statement)
    assert states(sealed) == TAMPERING[statement]


def test_a_seal_that_the_owner_makes_anew_breaks_the_chain(sealed: Connection) -> None:
    tamper(sealed, "UPDATE audit_log SET actor = 'bob' WHERE id = 2")
    tamper(
        sealed,
        "UPDATE audit_log SET new_values = new_values || jsonb_build_object('sha256',"
        " (SELECT h.sha256 FROM hash_audit_log(0, 3, (new_values ->> 'month')::date, NULL) AS h))"
        " WHERE id = 4",
    )
    assert states(sealed)[:2] == ["intact", "out of chain"]


def test_what_retention_takes_is_expired_and_not_tampered_with(connection: Connection) -> None:
    month = value(connection, "SELECT now() - interval '3 months'")
    for _ in range(3):
        connection.execute(OLD_RECORD, [month])
    add_customer(connection)
    rows(connection, "SELECT * FROM seal_audit_log()")
    assert states(connection) == ["intact", "intact"]

    rows(connection, "SELECT * FROM ensure_log_partitions()")
    assert states(connection) == ["intact", "intact"]
    rows(connection, "SELECT * FROM drop_old_log_partitions('audit_log', 1)")

    assert states(connection) == ["expired", "intact"]


def test_a_change_under_way_is_waited_for_and_then_left_for_later(
    connection: Connection, connect: Connect
) -> None:
    other = connect(autocommit=False)
    add_customer(other)
    with pytest.raises(errors.LockNotAvailable):
        connection.execute("SELECT seal_audit_log()")
    other.commit()
    assert rows(connection, "SELECT * FROM seal_audit_log()") != []
    assert states(connection) == ["intact"]


@pytest.mark.parametrize("limit", [0, -1, None])
def test_a_limit_that_makes_no_sense_is_refused(connection: Connection, limit: int | None) -> None:
    with pytest.raises(errors.InvalidParameterValue, match="p_limit must be at least 1"):
        connection.execute("SELECT seal_audit_log(%s)", [limit])


def test_a_snapshot_that_is_older_than_the_lock_is_refused(connection: Connection) -> None:
    connection.set_isolation_level(IsolationLevel.REPEATABLE_READ)
    with pytest.raises(errors.ActiveSqlTransaction), connection.transaction():
        connection.execute("SELECT seal_audit_log()")


def test_who_cancels_or_retries_a_build_is_recorded_and_workers_are_not(connection: Connection) -> None:
    add_build(connection)
    with connection.transaction():
        connection.execute("SELECT set_config('honua.actor', 'ada', true)")
        for _ in range(2):
            build = row(connection, "SELECT * FROM get_next_build_for_worker('w', 'h')")
            connection.execute("SELECT update_build_progress(%s, 5, 'compile')", [build.build_id])
            connection.execute(
                "SELECT complete_build(%s, 'w', %s, false, 1)", [build.build_id, build.retry_count]
            )
            connection.execute("SELECT retry_failed_build(%s)", [build.build_id])
        connection.execute("SELECT cancel_build(%s)", [build.build_id])
    recorded = rows(connection, "SELECT * FROM audit_log WHERE table_name = 'build_queue' ORDER BY id")
    assert [(each.old_values["status"], each.new_values["status"]) for each in recorded] == [
        ("failed", "queued"),
        ("failed", "queued"),
        ("queued", "cancelled"),
    ]
    assert {each.actor for each in recorded} == {"ada"}
    assert {each.customer_id for each in recorded} == {build.customer_id}


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_seals_in_a_row_do_not_hide_what_comes_after(connection: Connection, limit: int) -> None:
    for _ in range(2):
        for _ in range(9):
            add_customer(connection)
        while rows(connection, "SELECT * FROM seal_audit_log(%s)", limit):
            pass
    last_change = value(connection, "SELECT max(id) FROM audit_log WHERE operation <> 'SEAL'")
    assert value(connection, "SELECT max(last_id) FROM verify_audit_log()") >= last_change
    assert set(states(connection)) == {"intact"}
