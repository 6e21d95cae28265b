"""The help of every command has an example that runs, and shells complete its options."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import typer.main

from honua_schema import cli
from honua_schema.crypto import new_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import URL

EXAMPLE = re.compile(r"^Example(?P<reason> \([^)]+\))?: (?P<code>honua-schema .+)$", re.MULTILINE)
"""An example; one that can't run everywhere says in brackets what it needs."""

ON_AN_EMPTY_DATABASE = {"upgrade", "sql"}


def commands(command: Any, *names: str) -> Iterator[tuple[str, Any]]:
    """Yield a command and those below it, by what is typed to call them."""
    yield " ".join(names), command
    for name, each in getattr(command, "commands", {}).items():
        yield from commands(each, *names, name)


COMMANDS = dict(commands(typer.main.get_command(cli.app)))


@pytest.fixture
def run(programs: Path, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a line in a shell that knows the database, in a folder with keys."""
    keys = tmp_path / "honua.keys"
    keys.write_text(f"key-1:{new_key()}\n", encoding="utf-8")
    keys.chmod(0o600)

    def run_line(line: str, on: URL, **variables: str) -> subprocess.CompletedProcess[str]:
        known = {
            "DATABASE_URL": on.render_as_string(hide_password=False),
            "PGHOST": str(on.query["host"]), "PGPORT": str(on.query.get("port", 5432)),
            "PGUSER": str(on.username), "PGDATABASE": str(on.database),
            "PATH": f"{Path(sys.executable).parent}:{programs}:{os.environ['PATH']}",
        }  # fmt: skip
        return subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", line], cwd=tmp_path, env=os.environ | known | variables,
            capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    return run_line


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_has_an_example_of_the_command_itself(name: str) -> None:
    examples = [match["code"] for match in EXAMPLE.finditer(COMMANDS[name].epilog or "")]
    assert examples, f"honua-schema {name} --help has no example"
    assert all(code.startswith(f"honua-schema {name}".strip()) for code in examples)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_example_runs(
    name: str, new_database: Callable[..., URL], server_folder: Path, run: Callable[..., Any]
) -> None:
    database = new_database(empty=name in ON_AN_EMPTY_DATABASE)
    for match in EXAMPLE.finditer(COMMANDS[name].epilog):
        if match["reason"]:
            continue
        try:
            finished = run(match["code"], database, HOME=str(server_folder))
        finally:
            if name == "demo":
                run(f"{match['code']} --remove", database, HOME=str(server_folder))
        assert finished.returncode == 0, f"{match['code']}\n{finished.stdout}\n{finished.stderr}"


@pytest.mark.parametrize(
    ("shell", "registers"), [("bash", "complete -o"), ("zsh", "compdef"), ("fish", "complete --command")]
)
def test_the_completion_script_of_a_shell_is_printed(
    shell: str, registers: str, run: Callable[..., Any], database: URL
) -> None:
    finished = run("honua-schema", database, _HONUA_SCHEMA_COMPLETE=f"source_{shell}")
    assert finished.returncode == 0, finished.stderr
    assert registers in finished.stdout
    assert "honua-schema" in finished.stdout


def test_the_script_for_the_shell_in_use_is_an_option(run: Callable[..., Any], database: URL) -> None:
    finished = run("honua-schema --show-completion && true", database)  # `&& true`: bash stays, to be found
    assert finished.returncode == 0, finished.stderr
    assert "complete -o" in finished.stdout


def test_bash_completes_commands_and_options(run: Callable[..., Any], database: URL) -> None:
    def completed(words: str) -> list[str]:
        count = len(words.split())
        finished = run(
            "honua-schema", database, _HONUA_SCHEMA_COMPLETE="complete_bash",
            COMP_WORDS=words, COMP_CWORD=str(count - 1),
        )  # fmt: skip
        return str(finished.stdout).split()

    assert completed("honua-schema up") == ["upgrade"]
    assert completed("honua-schema maintenance ru") == ["run"]
    assert completed("honua-schema upgrade --lock") == ["--lock-timeout", "--lock-wait"]
