"""What a release needs: a changelog, upgrade pages, what is promised, and checks before each commit."""

from __future__ import annotations

import datetime
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

import honua_schema
import interface
import squawk
from honua_schema import release

if TYPE_CHECKING:
    from sqlalchemy import URL

PROJECT = Path(__file__).parents[1]
CHANGELOG = (PROJECT / "CHANGELOG.md").read_text(encoding="utf-8")
UPGRADES = PROJECT / "docs" / "upgrade"
SECTIONS = ["What changes", "Before you upgrade", "Locks and duration", "Go back"]
HOOKS_FILE = PROJECT / ".pre-commit-config.yaml"
REPOSITORIES = yaml.safe_load(HOOKS_FILE.read_text(encoding="utf-8"))["repos"]
HOOKS: list[dict[str, Any]] = [hook for repository in REPOSITORIES for hook in repository["hooks"]]


def version_number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


class TestChangelog:
    headings = re.findall(r"^## (.*)$", CHANGELOG, re.MULTILINE)
    released = re.findall(r"^## \[(\d+\.\d+\.\d+)\] - (\d{4}-\d{2}-\d{2})$", CHANGELOG, re.MULTILINE)

    def test_it_has_a_place_for_what_is_not_released_and_then_versions_with_dates(self) -> None:
        assert CHANGELOG.startswith("# Changelog\n")
        assert self.headings[0] == "[Unreleased]"
        assert self.headings[1:] == [f"[{version}] - {day}" for version, day in self.released]
        for _, day in self.released:
            datetime.date.fromisoformat(day)

    def test_versions_are_listed_from_the_newest_to_the_oldest(self) -> None:
        for newer, older in pairwise(self.released):
            assert version_number(newer[0]) > version_number(older[0])
            assert newer[1] >= older[1]

    def test_entries_stand_below_the_six_kinds_of_keep_a_changelog(self) -> None:
        kinds = re.findall(r"^### (.*)$", CHANGELOG, re.MULTILINE)
        assert kinds
        assert set(kinds) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}

    def test_the_newest_release_is_this_version_once_there_is_one(self) -> None:
        assert re.fullmatch(r"\d+\.\d+\.\d+", honua_schema.__version__)
        newest = self.released[0][0] if self.released else "0.0.0"
        assert version_number(honua_schema.__version__) >= version_number(newest)
        assert bool(release.released()) == bool(self.released)


class TestUpgradePages:
    def test_every_release_and_the_next_one_have_a_page(self) -> None:
        versions = {version for version, _ in TestChangelog.released} | {honua_schema.__version__}
        assert {page.stem for page in UPGRADES.glob("*.md")} == versions

    @pytest.mark.parametrize("page", sorted(UPGRADES.glob("*.md")), ids=lambda page: str(page.stem))
    def test_a_page_says_what_changes_what_it_locks_and_how_to_go_back(self, page: Path) -> None:
        text = page.read_text(encoding="utf-8")
        assert text.startswith(f"# Upgrade to {page.stem}\n")
        assert re.findall(r"^## (.*)$", text, re.MULTILINE) == SECTIONS
        for section in re.split(r"^## .*$", text, flags=re.MULTILINE)[1:]:
            assert section.strip()

    def test_the_sections_are_those_that_contributing_asks_for(self) -> None:
        contributing = (PROJECT / "CONTRIBUTING.md").read_text(encoding="utf-8")
        for section in SECTIONS:
            assert f"*{section}*" in contributing
        for flow in ("Add a column", "Change a function, a view or a trigger", "Release"):
            assert f"\n## {flow}\n" in contributing


class TestStableInterface:
    page = interface.PAGE.read_text(encoding="utf-8")

    def test_it_lists_what_there_is(self, database: URL) -> None:
        assert interface.written_part(interface.PAGE) == interface.write(database).strip(), (
            "run: make reference"
        )

    def test_every_public_name_is_listed(self) -> None:
        for name in honua_schema.__all__:
            assert re.search(rf"^- `{name}\b", self.page, re.MULTILINE), name

    def test_the_documented_functions_are_among_those_promised(self) -> None:
        for name in ("get_next_build_for_worker", "complete_build", "record_cache_access", "expire_licenses"):
            assert re.search(rf"^- `{name}\(.*p_\w+.*\) RETURNS ", self.page, re.MULTILINE), name

    def test_helpers_exist_and_are_not_promised(self) -> None:
        text = (PROJECT / "honua_schema/sql/system/privileges.toml").read_text(encoding="utf-8")
        assert tomllib.loads(text)["functions"].keys() >= interface.HELPERS
        for name in interface.HELPERS:
            assert f"- `{name}(" not in self.page

    def test_the_variables_it_names_are_read(self) -> None:
        sources = "".join(path.read_text("utf-8") for path in (PROJECT / "honua_schema").rglob("*.py"))
        named = set(re.findall(r"`((?:PG|DATABASE|HONUA)_[A-Z_]+)`", self.page))
        assert len(named) == 9
        for name in named:
            assert f'"{name}"' in sources or f'"{name.removeprefix("HONUA_").lower()}"' in sources, name


class TestHooks:
    def test_pre_commit_understands_them(self) -> None:
        checked = subprocess.run(
            [sys.executable, "-m", "pre_commit", "validate-config", HOOKS_FILE],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert checked.returncode == 0, checked.stdout + checked.stderr

    def test_they_fetch_nothing_and_use_the_programs_of_the_project(self) -> None:
        assert {each["repo"] for each in REPOSITORIES} == {"local"}
        assert [hook["id"] for hook in HOOKS] == ["ruff-check", "ruff-format", "mypy", "squawk"]
        for hook in HOOKS:
            assert hook["language"] == "system"
            assert hook["entry"].startswith(".venv/bin/")

    def test_squawk_leaves_out_what_the_tests_leave_out(self) -> None:
        assert f"--exclude={','.join(squawk.NO_MATTER)}" in HOOKS[-1]["entry"]

    @pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: str(hook["id"]))
    def test_the_project_passes_them(self, hook: dict[str, Any]) -> None:
        finished = run_hook(hook, PROJECT, files_of(hook, PROJECT))
        assert finished.returncode == 0, finished.stdout + finished.stderr

    @pytest.mark.parametrize(
        ("id_", "file", "text"),
        [
            ("ruff-check", "honua_schema/wrong.py", "import os\n"),
            ("ruff-format", "honua_schema/wrong.py", "x  =  1\n"),
            ("squawk", "honua_schema/sql/core/wrong.sql", "CREATE INDEX i ON customers (tier);\n"),
        ],
    )
    def test_they_stop_a_bad_commit(self, id_: str, file: str, text: str, tmp_path: Path) -> None:
        (hook,) = (each for each in HOOKS if each["id"] == id_)
        wrong = tmp_path / file
        wrong.parent.mkdir(parents=True)
        wrong.write_text(text)
        shutil.copy(PROJECT / "pyproject.toml", tmp_path)
        assert files_of(hook, tmp_path) == [file]
        assert run_hook(hook, tmp_path, [file]).returncode != 0


def files_of(hook: dict[str, Any], folder: Path) -> list[str]:
    """Return the files that pre-commit would hand to a hook, were all of them changed."""
    if "files" in hook:
        names = (path.relative_to(folder).as_posix() for path in folder.rglob("*.sql"))
        return sorted(name for name in names if re.search(hook["files"], name))
    return sorted(
        path.relative_to(folder).as_posix()
        for root in ("honua_schema", "tests", "docs")
        for path in (folder / root).rglob("*.py")
    )


def run_hook(hook: dict[str, Any], folder: Path, files: list[str]) -> subprocess.CompletedProcess[str]:
    program, *arguments = shlex.split(hook["entry"])
    command: list[str | Path] = [Path(sys.executable).with_name(Path(program).name), *arguments]
    if hook.get("pass_filenames", True):
        assert files
        command += files
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
