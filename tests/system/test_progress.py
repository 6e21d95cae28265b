"""Who waits in front of a terminal sees that something goes on; a file or a program never reads about it."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from terminal import terminal

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import URL

COMMANDS = {
    ("verify",): "Comparing",
    ("check",): "Comparing",
    ("doctor",): "Looking",
    ("maintenance", "run", "timeouts", "partitions"): "End builds whose time is up",
    ("quotas",): "Counting",
    ("audit", "seal"): "Sealing",
    ("audit", "verify"): "Comparing",
    ("rotate-keys", "--yes"): "Encrypting",
}


@pytest.fixture
def environment(database: URL) -> dict[str, str]:
    return {
        **os.environ,
        "DATABASE_URL": database.render_as_string(hide_password=False),
        "HONUA_ENCRYPTION_KEYS": f"key-1:{base64.b64encode(32 * b'1').decode()}",
        "TERM": "xterm-256color",
    }


@pytest.mark.parametrize(("arguments", "word"), COMMANDS.items(), ids=" ".join)
def test_a_terminal_shows_that_a_command_is_at_work_and_forgets_it_when_it_is_done(
    environment: dict[str, str], arguments: tuple[str, ...], word: str
) -> None:
    with terminal(*arguments, environment=environment) as shown:
        shown.end()
    assert word in shown.output.decode()
    assert word not in "\n".join(shown.screen)
    assert not shown.cursor_is_hidden
    assert b"Traceback" not in shown.output


@pytest.mark.parametrize(("arguments", "word"), COMMANDS.items(), ids=" ".join)
def test_a_file_and_a_program_read_nothing_of_it(
    environment: dict[str, str], arguments: tuple[str, ...], word: str
) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "honua_schema", *arguments],
        env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0
    assert word not in ended.stdout + ended.stderr
    assert "\x1b" not in ended.stdout + ended.stderr


def test_the_demo_shows_how_far_it_is_on_a_terminal_alone(
    environment: dict[str, str], new_database: Callable[[], URL]
) -> None:
    first, second = (new_database().render_as_string(hide_password=False) for _ in range(2))
    with terminal("demo", "--url", first, environment=environment) as shown:
        assert shown.end() == 0
    assert "85%" in shown.output.decode()
    piped = subprocess.run(
        [sys.executable, "-m", "honua_schema", "demo", "--url", second],
        env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "Loaded" in piped.stdout
    assert "85%" not in piped.stdout + piped.stderr
    assert "\x1b" not in piped.stdout + piped.stderr
