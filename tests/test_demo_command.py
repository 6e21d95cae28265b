"""``honua-schema demo``: what it prints, and what it starts, stops and removes."""

from __future__ import annotations

import io
import re
import shlex
import subprocess
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from rich.console import Console

from builders import add_customer
from honua_schema.demo.command import run_demo
from honua_schema.demo.questions import QUESTIONS
from honua_schema.embedded import EmbeddedServer
from honua_schema.errors import SchemaError

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import URL

    Connection = psycopg.Connection[Any]


def output_of_demo(folder: Path | None = None, *, width: int | None = None, **options: Any) -> str:
    """Run the demo and return what it prints, on a terminal if it has a width."""
    output = io.StringIO()
    run_demo(folder, console=Console(file=output, force_terminal=bool(width), width=width), **options)
    return output.getvalue()


def test_the_demo_starts_answers_again_stops_and_is_removed(server_folder: Path) -> None:
    server = EmbeddedServer(server_folder)
    first = output_of_demo(server_folder)
    assert f"PostgreSQL starts in {server.folder}." in first
    assert "001 initial_schema" in first
    assert re.search(r"Loaded [\d,]+ rows in [\d.]+ seconds", first)
    assert server.is_running()

    uri = re.search(r"postgresql://\S+", first)
    assert uri is not None
    with psycopg.connect(uri[0]) as connection:
        builds = connection.execute("SELECT count(*) FROM build_queue").fetchone()
        assert builds is not None
        assert 100 <= builds[0] <= 200
    psql = re.search(r"Ask it yourself +(.*)", first)
    assert psql is not None
    command = [*shlex.split(psql[1]), "--no-psqlrc", "--tuples-only", "--command", "SELECT 'connected'"]
    assert "connected" in subprocess.run(command, capture_output=True, text=True, check=True).stdout

    second = output_of_demo(server_folder)
    assert f"PostgreSQL is running in {server.folder}." in second
    assert "The data is already there." in second
    assert answers(second).keys() == answers(first).keys()

    assert "stopped; its data stays" in output_of_demo(server_folder, stop=True)
    assert not server.is_running()
    assert "was not running" in output_of_demo(server_folder, stop=True)
    assert "The data is already there." in output_of_demo(server_folder)

    assert f"Removed {server.folder}" in output_of_demo(server_folder, remove=True)
    assert not server.folder.exists()
    assert "There is no" in output_of_demo(server_folder, remove=True)
    assert "nothing to stop" in output_of_demo(server_folder, stop=True)
    assert not server.folder.exists()


def answers(output: str) -> dict[str, list[str]]:
    """Return the lines of each answer that was printed as plain text."""
    found = {}
    for block in output.split("\n\n"):
        title, *lines = block.strip().splitlines()
        if title in {question.title for question in QUESTIONS}:
            found[title] = lines
    return found


def test_every_question_is_printed_with_an_answer(database: URL) -> None:
    found = answers(output_of_demo(url=database))
    assert [*found] == [question.title for question in QUESTIONS]
    for lines in found.values():
        _, rule, *values = lines
        assert set(rule) == {"-", " "}
        assert values


def test_a_terminal_gets_the_same_answers(database: URL) -> None:
    output_of_demo(url=database)
    output = output_of_demo(url=database, width=120)
    for question in QUESTIONS:
        assert question.title in output
    assert "\x1b[1m" in output
    assert max(map(len, re.sub(r"\x1b\[[\d;]*m", "", output).splitlines())) <= 120


def test_the_questions_change_nothing(database: URL, connection: Connection) -> None:
    output_of_demo(url=database)
    query = "SELECT id, status, worker_id, updated_at FROM build_queue ORDER BY id"
    before = connection.execute(query).fetchall()
    output_of_demo(url=database)
    assert connection.execute(query).fetchall() == before


def test_a_database_of_ones_own_with_other_data_is_refused(database: URL, connection: Connection) -> None:
    add_customer(connection)
    with pytest.raises(SchemaError, match="holds data already"):
        output_of_demo(url=database)


def test_another_scale_leaves_the_data_and_says_so(database: URL) -> None:
    output_of_demo(url=database)
    output = output_of_demo(url=database, scale=0.01)
    assert "It stays as it is. For data of another scale, first name an empty database\n" in output
    assert "Loaded" not in output
    assert "--remove" not in output


def test_for_another_scale_the_demo_to_remove_is_the_one_of_the_folder(server_folder: Path) -> None:
    folder = server_folder / "of mine"
    try:
        output_of_demo(folder)
        output = output_of_demo(folder, scale=0.01)
        hint = re.search(r"first remove this: .* (demo .*)", output)
        assert hint is not None
        assert shlex.split(hint[1]) == ["demo", "--folder", str(folder), "--remove"]
    finally:
        output_of_demo(folder, remove=True)


def test_nothing_stays_of_the_default_folder(server_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    default = server_folder / "honua-schema" / "postgresql-18"
    monkeypatch.setattr("honua_schema.demo.command.default_folder", lambda: default)
    server = EmbeddedServer(default)
    server.start()
    assert "Removed" in output_of_demo(remove=True)
    assert list(server_folder.iterdir()) == []


def test_the_default_folder_keeps_the_server_of_another_version(
    server_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    default = server_folder / "honua-schema" / "postgresql-18"
    monkeypatch.setattr("honua_schema.demo.command.default_folder", lambda: default)
    EmbeddedServer(default).start()
    other = default.with_name("postgresql-17")
    other.mkdir()
    output_of_demo(remove=True)
    assert list(default.parent.iterdir()) == [other]


@pytest.mark.parametrize("scale", [0, 0.009, 101, -1, float("nan")])
def test_a_scale_out_of_range_is_refused(server_folder: Path, scale: float) -> None:
    with pytest.raises(SchemaError, match=r"not between 0\.01 and 100"):
        output_of_demo(server_folder, scale=scale)
    assert not any(server_folder.iterdir())


def test_a_scale_that_does_not_fit_on_the_disk_is_refused(
    server_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("honua_schema.demo.command.BYTES_AT_SCALE_1", 10**18)
    try:
        with pytest.raises(SchemaError, match="too little room"):
            output_of_demo(server_folder, scale=1)
    finally:
        output_of_demo(server_folder, remove=True)


def test_a_database_of_ones_own_is_not_stopped(database: URL) -> None:
    with pytest.raises(SchemaError, match="not stopped or removed"):
        output_of_demo(url=database, stop=True)
