"""``honua-schema top`` on a terminal: what stands on the screen is what is in the database."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import termios
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pexpect
import pytest

from builders import add_build, add_cache_access, add_cache_entry, add_customer, add_license
from honua_schema.runner import MigrationRunner
from honua_schema.top import age
from terminal import heed_interrupts, terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from uuid import UUID

    import psycopg
    from sqlalchemy import URL

    from honua_schema.embedded import EmbeddedServer
    from terminal import Terminal

    Connection = psycopg.Connection[Any]
    Watch = Callable[..., AbstractContextManager[Terminal]]


def environment(url: URL) -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES", "NO_COLOR"}},
        "DATABASE_URL": url.render_as_string(hide_password=False),
        "TERM": "xterm-256color",
    }


@pytest.fixture
def watch(database: URL) -> Watch:
    """Run ``honua-schema top`` on a terminal, on ``database``."""

    def run(*options: str, on: URL = database, **size: int) -> AbstractContextManager[Terminal]:
        return terminal("top", "--interval", "100ms", *options, environment=environment(on), **size)

    return run


def once(url: URL, *options: str) -> subprocess.CompletedProcess[str]:
    """Run it where there is no terminal."""
    return subprocess.run(
        [sys.executable, "-m", "honua_schema", "top", *options],
        env=environment(url), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip


def row(screen: list[str], beginning: str) -> list[str]:
    """Return the words of the line that begins with a word."""
    return next((line.split() for line in screen if line.split()[:1] == [beginning]), [])


def ago(**duration: float) -> datetime:
    return datetime.now(UTC) - timedelta(**duration)


def claim(connection: Connection, worker: str, count: int = 1) -> None:
    connection.execute("SELECT get_next_build_for_worker(%s, 'host', NULL, %s)", [worker, count])


def complete_all(connection: Connection, *, success: bool = True) -> None:
    connection.execute(
        "SELECT complete_build(b.id, b.worker_id, b.retry_count, %s, 60) FROM build_queue AS b"
        " WHERE b.status = 'building'",
        [success],
    )


@pytest.fixture
def busy(connection: Connection) -> UUID:
    """A queue with builds in every state; the build that has waited longest."""
    customer = add_customer(connection)
    for number in range(3):
        add_build(connection, customer, priority=10, queued_at=ago(seconds=100 + number))
    claim(connection, "worker-ended", 3)
    complete_all(connection)
    add_build(connection, customer, priority=10)
    claim(connection, "worker-ended")
    complete_all(connection, success=False)
    for _ in range(2):
        add_build(connection, customer, priority=9)
    claim(connection, "worker-one")
    claim(connection, "worker-two")
    limited = add_customer(connection)
    add_license(connection, limited, max_concurrent_builds=1)
    for _ in range(4):
        add_build(connection, limited, priority=7)
    add_build(connection, customer, queued_at=datetime.now(UTC) + timedelta(hours=3, minutes=30))
    add_build(connection, customer, priority=6)
    oldest = add_build(connection, customer, priority=2, queued_at=ago(hours=5), architecture="arm64")
    entry = add_cache_entry(connection)
    for _ in range(3):
        add_cache_access(connection, entry, customer)
    add_cache_access(connection, None, customer)
    return oldest


def test_the_numbers_on_the_screen_are_the_rows_of_the_database(watch: Watch, busy: UUID) -> None:
    with watch(columns=120, lines=40) as shown:
        screen = shown.until(lambda screen: "worker-two" in "\n".join(screen))

    # P9 is there for builds that are building, P5 for the one that is delayed; P10 has ended.
    assert row(screen, "Queue") == ["Queue", "Builds", "Oldest", "P9", "P7", "P6", "P5", "P2"]
    assert row(screen, "ready") == ["ready", "3", "5h", "00m", "1", "1", "1"]
    assert row(screen, "waiting")[:2] == ["waiting", "3"]
    assert row(screen, "delayed") == ["delayed", "1", "in", "3h", "29m", "1"]
    assert row(screen, "building")[:2] == ["building", "2"]
    text = "\n".join(screen)
    assert re.search(rf"Waits longest: {busy} of customer-\d+, priority 2, arm64, 5h 00m", text)
    assert row(screen, "success")[:4] == ["success", "3", "3", "3"]
    assert row(screen, "failed")[:4] == ["failed", "1", "1", "1"]
    assert row(screen, "timeout")[:4] == ["timeout", "0", "0", "0"]
    assert row(screen, "a")[:5] == ["a", "minute", "4.0", "0.8", "0.3"]
    assert re.search(r"Wait +p50 \S+s   p95 1m 4\ds   of 6 builds", text)
    assert "75.0 % hits   of 4 look-ups" in text
    assert "Workers  2   builds: 2" in text
    assert "past their timeout" not in text
    for worker in ("worker-one", "worker-two"):
        assert row(screen, worker)[2:4] == ["0", "%"]
        assert row(screen, worker)[-2:] == ["9", "1"]


def test_the_screen_follows_the_rows(watch: Watch, connection: Connection) -> None:
    customer = add_customer(connection)
    with watch() as shown:
        shown.until(lambda screen: row(screen, "ready")[1:2] == ["0"])
        build = add_build(connection, customer)
        shown.until(lambda screen: row(screen, "ready")[1:2] == ["1"] and str(build) in "\n".join(screen))
        claim(connection, "worker-new")
        shown.until(
            lambda screen: row(screen, "building")[1:2] == ["1"] and row(screen, "worker-new")
        )  # fmt: skip
        connection.execute(
            "SELECT update_build_progress(%s, 40, 'link native libraries', NULL, 'worker-new', 0)", [build]
        )
        shown.until(
            lambda screen: "link native libraries" in "\n".join(screen) and "40 %" in "\n".join(screen)
        )
        complete_all(connection)
        shown.until(
            lambda screen: (
                row(screen, "success")[1:2] == ["1"]
                and "No worker holds a build." in screen
                and "worker-new" not in "\n".join(screen)
            )
        )


def test_an_empty_database_reads_sensibly(watch: Watch) -> None:
    with watch() as shown:
        text = "\n".join(shown.until(lambda screen: "No worker holds a build." in screen))
    assert "No build can be claimed." in text
    assert "no build was claimed in the last 15 minutes" in text
    assert "no look-up in the last 15 minutes" in text
    assert "None" not in text
    assert "nan" not in text.lower()


@pytest.mark.parametrize("way", ["q", "\x03", "SIGTERM"])
def test_it_is_left_with_a_good_exit_code_and_a_terminal_as_before(watch: Watch, way: str) -> None:
    with watch() as shown:
        before = termios.tcgetattr(shown.program.child_fd)
        shown.until(lambda screen: "No worker holds a build." in screen)
        assert shown.cursor_is_hidden
        assert not termios.tcgetattr(shown.program.child_fd)[3] & termios.ICANON
        if way == "SIGTERM":
            shown.program.kill(signal.SIGTERM)
        else:
            shown.press(way)
        code = shown.end()
        assert termios.tcgetattr(shown.program.child_fd) == before
    assert code == 0
    assert not shown.cursor_is_hidden
    assert shown.output.count(b"\x1b[?1049h") == shown.output.count(b"\x1b[?1049l") == 1
    assert b"Traceback" not in shown.output


def test_other_keys_do_nothing(watch: Watch, connection: Connection) -> None:
    with watch() as shown:
        shown.until(lambda screen: row(screen, "ready")[1:2] == ["0"])
        shown.press("x\x1b[A\r")
        add_build(connection)
        shown.until(lambda screen: row(screen, "ready")[1:2] == ["1"])


def test_a_terminal_that_is_resized_is_drawn_anew(watch: Watch, busy: UUID) -> None:
    with watch(columns=120, lines=40) as shown:
        shown.until(lambda screen: "worker-two" in "\n".join(screen))
        for columns, lines in ((80, 24), (200, 50), (30, 10)):
            shown.resize(columns, lines)
            screen = shown.until(lambda screen: row(screen, "building"))
            assert len(screen) == lines
            assert max(map(len, screen)) <= columns
            assert row(screen, "ready")[1] == "3"


@pytest.mark.parametrize(("columns", "lines"), [(40, 10), (20, 5), (1, 1)])
def test_a_small_terminal_shows_what_fits(watch: Watch, busy: UUID, columns: int, lines: int) -> None:
    with watch(columns=columns, lines=lines) as shown:
        shown.until(lambda screen: screen[0].startswith("2"[:columns]))
        shown.press("q")
        assert shown.end() == 0
    assert b"Traceback" not in shown.output


def test_more_workers_than_lines_leave_the_top_in_place(watch: Watch, connection: Connection) -> None:
    customer = add_customer(connection)
    for number in range(30):
        add_build(connection, customer)
        claim(connection, f"worker-{number:02}")
    with watch(columns=120, lines=24) as shown:
        screen = shown.until(lambda screen: row(screen, "worker-00"))
    assert screen[1].startswith("Queue")
    assert "30   builds: 30" in "\n".join(screen)


def test_builds_past_their_timeout_are_pointed_out(watch: Watch, connection: Connection) -> None:
    add_build(
        connection, status="building", worker_id="worker-late", queued_at=ago(hours=2),
        started_at=ago(hours=2), worker_assigned_at=ago(hours=2), timeout_at=ago(minutes=30),
        heartbeat_at=ago(hours=1),
    )  # fmt: skip
    with watch() as shown:
        screen = shown.until(lambda screen: row(screen, "worker-late"))
    assert "1   builds: 1   past their timeout: 1" in "\n".join(screen)
    assert re.search(r"2h 00m +-30m \d\ds +1h 00m", next(line for line in screen if "worker-late" in line))


def test_what_a_worker_writes_is_not_taken_for_markup(watch: Watch, connection: Connection) -> None:
    add_build(connection)
    claim(connection, "[bold]worker[/]")
    with watch() as shown:
        shown.until(lambda screen: row(screen, "[bold]worker[/]"))


def test_where_there_is_no_terminal_it_is_printed_once(database: URL, busy: UUID) -> None:
    for options in ((), ("--once",)):
        ended = once(database, *options)
        assert ended.returncode == 0, ended.stderr
        assert "\x1b" not in ended.stdout
        assert row(ended.stdout.splitlines(), "ready")[:2] == ["ready", "3"]
        assert row(ended.stdout.splitlines(), "worker-two")


def test_a_file_or_a_program_reads_names_in_full(database: URL, connection: Connection) -> None:
    customer = add_customer(connection, "c" * 80)
    add_license(connection, customer)
    add_build(connection, customer)
    claim(connection, "w" * 80)
    output = once(database).stdout
    assert "w" * 80 in output
    assert "c" * 80 in output
    assert "…" not in output


def test_once_prints_one_frame_on_a_terminal_and_leaves_it_there(watch: Watch, busy: UUID) -> None:
    with watch("--once") as shown:
        assert shown.end() == 0
    assert b"\x1b[?1049h" not in shown.output
    assert row(shown.screen, "ready")[:2] == ["ready", "3"]


def test_a_keyboard_that_is_missing_does_not_matter(database: URL) -> None:
    command = f"exec {sys.executable} -m honua_schema top --interval 100ms < /dev/null"
    program = pexpect.spawn(
        "bash", ["-c", command], env=environment(database), dimensions=(24, 80), preexec_fn=heed_interrupts
    )
    program.expect("No worker holds a build", timeout=30)
    program.sendintr()
    program.expect(pexpect.EOF, timeout=30)
    program.close()
    assert program.exitstatus == 0


@pytest.fixture
def login(connection: Connection, database: URL) -> Iterator[Callable[[str], URL]]:
    """Make a login that is a member of a role, and return the URL with which it connects."""
    made = []

    def create(role: str) -> URL:
        name = f"{database.database}_{role}"
        connection.execute(f"CREATE ROLE {name} LOGIN IN ROLE {role}")
        made.append(name)
        return database.set(username=name)

    yield create
    for name in made:
        connection.execute(f"DROP ROLE {name}")


def test_a_member_of_honua_readonly_sees_all(
    watch: Watch, busy: UUID, login: Callable[[str], URL]
) -> None:  # fmt: skip
    with watch(on=login("honua_readonly")) as shown:
        screen = shown.until(lambda screen: "worker-two" in "\n".join(screen))
        shown.press("q")
        assert shown.end() == 0
    assert row(screen, "ready")[1] == "3"
    assert "75.0 % hits" in "\n".join(screen)


@pytest.mark.parametrize("role", ["honua_app", "honua_maintenance", "honua_worker"])
def test_who_may_not_see_all_builds_is_told_so_instead_of_shown_an_empty_queue(
    busy: UUID, login: Callable[[str], URL], role: str
) -> None:
    ended = once(login(role))
    assert ended.returncode == 1
    assert "Row security hides builds from this role." in ended.stderr
    assert "Connect as the owner of the tables, or as a member of honua_readonly." in ended.stderr
    assert ended.stdout == ""


def test_a_database_without_the_schema_is_an_error(empty_database: URL) -> None:
    ended = once(empty_database)
    assert ended.returncode == 1
    assert "honua-schema upgrade" in ended.stderr


def test_a_server_that_does_not_answer_is_an_error(database: URL) -> None:
    ended = once(database.update_query_dict({"host": "/nowhere"}))
    assert ended.returncode == 1
    assert "Cannot connect" in ended.stderr


@pytest.mark.parametrize("interval", ["0", "50ms", "soon", "-1s"])
def test_an_interval_that_makes_no_sense_is_wrong_usage(database: URL, interval: str) -> None:
    assert once(database, "--interval", interval).returncode == 2


def test_a_lost_connection_is_said_plainly_and_tried_again(
    watch: Watch, private_server: Callable[..., EmbeddedServer]
) -> None:
    server = private_server()
    server.create_database()
    url = server.url()
    assert MigrationRunner(url).apply_migrations().success
    with watch(on=url) as shown:
        shown.until(lambda screen: row(screen, "ready")[1:2] == ["0"])
        server.stop()
        text = "\n".join(shown.until(lambda screen: "Trying again" in "\n".join(screen)))
        assert "Traceback" not in text
        assert row(shown.screen, "ready")[1:2] == ["0"]
        shown.until(lambda screen: "Cannot connect to PostgreSQL" in "\n".join(screen))
        server.start()
        shown.until(lambda screen: "Trying again" not in "\n".join(screen))
        shown.press("q")
        assert shown.end() == 0


def test_q_works_while_the_server_hangs_and_the_silence_is_shown(
    watch: Watch, connect: Callable[..., Connection]
) -> None:
    with watch() as shown:
        shown.until(lambda screen: row(screen, "ready"))
        blocker = connect(autocommit=False)
        blocker.execute("LOCK TABLE build_queue")
        shown.until(lambda screen: "PostgreSQL has not answered for" in "\n".join(screen))
        shown.press("q")
        assert shown.end() == 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""), (0, "0s"), (-0.4, "0s"), (59.4, "59s"), (59.6, "1m 00s"), (-61, "-1m 01s"),
        (3600, "1h 00m"), (86_399, "23h 59m"), (86_400, "1d 00h"), (-1e8, "-1,157d 09h"),
    ],
)  # fmt: skip
def test_ages_are_short(seconds: float | None, text: str) -> None:
    assert age(seconds) == text
