"""Every fenced example of README and docs runs, or says why it can't."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from honua_schema import MigrationRunner

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import URL

PROJECT = Path(__file__).parents[1]
PAGES = [PROJECT / "README.md", *sorted((PROJECT / "docs").rglob("*.md"))]
FENCE = re.compile(
    r"(?:<!-- not runnable: (?P<reason>[^>]+) -->\n)?"
    r"^```(?P<language>\w*)(?P<place> checkout)?\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
RUNNABLE = {"bash", "python", "sql"}
SHOWN = {"", "text", "mermaid", "json", "yaml", "toml", "ini"}


@dataclass(frozen=True)
class Example:
    page: Path
    language: str
    in_checkout: bool
    reason: str | None
    code: str


def examples(page: Path) -> list[Example]:
    return [
        Example(page, match["language"], bool(match["place"]), match["reason"], match["code"])
        for match in FENCE.finditer(page.read_text(encoding="utf-8"))
    ]


ALL = [example for page in PAGES for example in examples(page)]
PAGES_THAT_RUN = [
    page for page in PAGES if any(each.language in RUNNABLE and not each.reason for each in examples(page))
]


def command(example: Example, programs: Path) -> list[str | Path]:
    if example.language == "python":
        return [sys.executable, "-c", example.code]
    if example.language == "sql":
        return [programs / "psql", "-X", "-v", "ON_ERROR_STOP=1", "-c", example.code]
    return ["bash", "-e", "-c", example.code]


def environment(url: URL, programs: Path) -> dict[str, str]:
    host, port = str(url.query["host"]), str(url.query.get("port", 5432))
    scripts = Path(sys.executable).parent
    return os.environ | {
        "DATABASE_URL": url.render_as_string(hide_password=False),
        "PGHOST": host, "PGPORT": port, "PGUSER": str(url.username), "PGDATABASE": str(url.database),
        "PATH": f"{scripts}:{programs}:{os.environ['PATH']}",
        "NO_COLOR": "1",
    }  # fmt: skip


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the project, for examples that edit it."""
    ignored = shutil.ignore_patterns(".venv", ".git", "__pycache__", "*_cache", ".hypothesis", "site")
    return Path(shutil.copytree(PROJECT, tmp_path / "checkout", ignore=ignored))


@pytest.mark.parametrize("page", PAGES_THAT_RUN, ids=lambda page: str(page.relative_to(PROJECT)))
def test_the_examples_of_a_page_run_one_after_the_other(
    page: Path, new_database: Callable[..., URL], programs: Path, tmp_path: Path, checkout: Path
) -> None:
    url = new_database(empty=True)
    if page.name != "README.md":
        assert MigrationRunner(url).apply_migrations().success
    for example in examples(page):
        if example.language not in RUNNABLE or example.reason:
            continue
        variables = environment(url, programs)
        if example.in_checkout:
            variables["PYTHONPATH"] = str(checkout)
        finished = subprocess.run(
            command(example, programs), cwd=checkout if example.in_checkout else tmp_path,
            env=variables, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert finished.returncode == 0, f"{example.code}\n{finished.stdout}\n{finished.stderr}"


def test_every_example_runs_is_only_shown_or_says_why_it_cannot_run() -> None:
    assert len(ALL) >= 5
    for example in ALL:
        assert example.language in RUNNABLE | SHOWN, f"{example.page}: {example.language}\n{example.code}"


def test_the_commands_that_are_not_run_here_exist() -> None:
    makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"make ([\w-]+)", "".join(each.code for each in ALL if each.language == "bash")):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"make {target}"
