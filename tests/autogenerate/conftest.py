"""A copy of the project in which a test may change models and SQL files, as an author would."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from sqlalchemy import URL

    from tests.conftest import NewDatabase

PROJECT = Path(__file__).parents[2]


@dataclass(frozen=True)
class ProjectCopy:
    """A checkout of the project with a database at head."""

    folder: Path
    database: URL

    @property
    def package(self) -> Path:
        return self.folder / "honua_schema"

    def replace(self, path: str, old: str, new: str) -> None:
        """Change a file of the package; the old text must be in it once."""
        file = self.package / path
        text = file.read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{path} has {text.count(old)} times: {old}"
        file.write_text(text.replace(old, new), encoding="utf-8")

    def write(self, path: str, text: str) -> None:
        (self.package / path).write_text(text, encoding="utf-8")

    def remove(self, path: str) -> None:
        (self.package / path).unlink()

    def insert(self, path: str, before: str, text: str) -> None:
        """Put text into a file of the package, before a text that must be in it once."""
        self.replace(path, before, text + before)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Python with the copied package in place of the installed one."""
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env={
                **os.environ,
                "PYTHONPATH": str(self.folder),
                "PYTHONDONTWRITEBYTECODE": "1",
                "DATABASE_URL": self.database.render_as_string(hide_password=False),
            },
            capture_output=True,
            text=True,
            check=False,
        )

    def alembic(self, *arguments: str) -> str:
        """Run an Alembic command that must succeed, and return what it printed."""
        return self._succeed("-m", "alembic", *arguments)

    def revise(self, message: str, *, revert: bool = False) -> str:
        """Generate a revision, apply it, run check and verify, perhaps revert it, and return its text.

        Nobody touches the generated file.
        """
        before = set(self.revisions())
        self._succeed(str(Path(__file__).with_name("author.py")), message, *(["--revert"] if revert else []))
        (file,) = set(self.revisions()) - before
        return file.read_text(encoding="utf-8")

    def revisions(self) -> list[Path]:
        return sorted((self.package / "versions").glob("*.py"))

    def frozen(self, revision: str) -> set[str]:
        """The frozen SQL files of a revision."""
        folder = self.package / "versions" / "sql" / revision
        return {file.relative_to(folder).as_posix() for file in folder.rglob("*.sql")}

    def _succeed(self, *arguments: str) -> str:
        finished = self.run(*arguments)
        output = finished.stdout + finished.stderr
        assert finished.returncode == 0, output
        return output


@pytest.fixture
def project(tmp_path: Path, new_database: NewDatabase) -> ProjectCopy:
    """A copy of the project, and a database at head."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PROJECT / "honua_schema", tmp_path / "honua_schema", ignore=ignored)
    for name in ("alembic.ini", "pyproject.toml"):
        shutil.copy(PROJECT / name, tmp_path)
    return ProjectCopy(tmp_path, new_database())
