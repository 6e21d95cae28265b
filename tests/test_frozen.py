"""Released revisions never change, and depend on nothing that does."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from alembic.script import ScriptDirectory

from honua_schema import history, release, sqlfile
from honua_schema.errors import SchemaError
from honua_schema.runner import MigrationRunner, configuration
from squawk import warnings

if TYPE_CHECKING:
    from alembic.script import Script

SCRIPTS = ScriptDirectory.from_config(configuration())
REVISIONS = list(SCRIPTS.walk_revisions())
MAY_BE_IMPORTED = {"__future__", "alembic", "sqlalchemy", "honua_schema.sqlfile", "honua_schema.online"}


def imported(file: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "honua_schema":
            names |= {f"honua_schema.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = str(node.module)
            names.add(module if module.startswith("honua_schema") else module.partition(".")[0])
    return names


def text_of(revision: Script) -> str:
    return Path(revision.path).read_text(encoding="utf-8")


def test_released_revisions_are_what_they_were() -> None:
    assert release.edited(release.checksums(), release.released()) == []


def test_there_is_one_newest_revision() -> None:
    assert len(SCRIPTS.get_heads()) == 1
    assert len(SCRIPTS.get_bases()) == 1


@pytest.mark.parametrize("revision", REVISIONS, ids=lambda revision: revision.revision)
def test_a_revision_uses_neither_models_nor_current_sql(revision: Script) -> None:
    assert imported(Path(revision.path)) <= MAY_BE_IMPORTED


@pytest.mark.parametrize("revision", REVISIONS, ids=lambda revision: revision.revision)
def test_a_revision_runs_sql_through_sqlfile_only(revision: Script) -> None:
    assert "op.execute(" not in text_of(revision)


def test_each_frozen_file_belongs_to_a_revision_that_runs_it() -> None:
    texts = "".join(text_of(revision) for revision in REVISIONS)
    files = [file.relative_to(sqlfile.FROZEN).as_posix() for file in sqlfile.FROZEN.rglob("*.sql")]
    assert [file for file in files if f'"{file}"' not in texts] == []


@pytest.mark.parametrize("revision", REVISIONS, ids=lambda revision: revision.revision)
def test_a_revision_uses_no_frozen_file_of_a_later_one(revision: Script) -> None:
    used = set(re.findall(r'"(\d{3})/\w+/\w+\.sql"', text_of(revision)))
    assert all(number <= revision.revision for number in used)


def test_revisions_since_the_last_release_suit_a_database_in_use() -> None:
    released = release.released()
    if released:  # before the first release, no database is in use
        assert warnings(MigrationRunner("postgresql://").sql(start=max(released))) == set()


class TestRelease:
    def test_all_revisions_are_written_down(self, tmp_path: Path) -> None:
        file = tmp_path / "frozen.sha256"
        assert release.freeze(file) == sorted(each.revision for each in REVISIONS)
        assert release.released(file) == {each.revision: history.checksum(each) for each in REVISIONS}
        assert release.freeze(file) == []

    def test_an_edited_revision_is_refused(self, tmp_path: Path) -> None:
        file = tmp_path / "frozen.sha256"
        release.freeze(file)
        lines = file.read_text().splitlines(keepends=True)
        before = "".join(["0" * 64 + lines[0][64:], *lines[1:]])
        file.write_text(before)
        with pytest.raises(SchemaError, match="Released revisions were edited: 001"):
            release.freeze(file)
        assert file.read_text() == before

    def test_a_removed_revision_is_refused(self, tmp_path: Path) -> None:
        file = tmp_path / "frozen.sha256"
        release.freeze(file)
        file.write_text(file.read_text() + "0" * 64 + "  999\n")
        with pytest.raises(SchemaError, match="999"):
            release.freeze(file)
