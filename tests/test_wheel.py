"""The wheel does in an empty folder what the checkout does."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import URL

PROJECT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, PROJECT],
        check=True, capture_output=True,
    )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def wheel(distributions: Path) -> Path:
    (built,) = distributions.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with nothing but the unpacked wheel; what it depends on comes from the environment."""
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def honua_schema(
    installed: Path, folder: Path, url: URL, *arguments: str
) -> subprocess.CompletedProcess[str]:
    variables = os.environ | {
        "PYTHONPATH": str(installed),
        "DATABASE_URL": url.render_as_string(hide_password=False),
    }
    return subprocess.run(
        [sys.executable, "-m", "honua_schema", *arguments],
        cwd=folder, env=variables, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def test_the_wheel_holds_every_file_of_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    kept = {
        str(path.relative_to(PROJECT))
        for path in (PROJECT / "honua_schema").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert packed == kept
    assert "honua_schema/py.typed" in packed
    assert any(name.startswith("honua_schema/versions/sql/005/") for name in packed)


def test_sdist_and_wheel_are_fit_for_a_package_index(distributions: Path) -> None:
    files = sorted(distributions.iterdir())
    assert [file.suffix for file in files] == [".whl", ".gz"]
    checked = subprocess.run(
        [sys.executable, "-m", "twine", "check", "--strict", *files],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (checked.returncode, checked.stdout.count("PASSED")) == (0, 2), checked.stdout + checked.stderr


def test_the_sdist_holds_the_tests_and_what_they_read(distributions: Path) -> None:
    (sdist,) = distributions.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "Makefile", "alembic.ini", ".pre-commit-config.yaml"} <= packed
    assert {"tests/conftest.py", "docs/examples/own-tables/alembic.ini", "CHANGELOG.md"} <= packed
    assert not [name for name in packed if "__pycache__" in name or name.startswith(".venv")]


def test_an_installed_wheel_upgrades_verifies_and_goes_back(
    installed: Path, tmp_path: Path, new_database: Callable[..., URL], dump_schema: Callable[[URL], str]
) -> None:
    url, from_checkout = new_database(empty=True), new_database()
    for arguments in (["upgrade", "--yes"], ["verify"], ["check"], ["status"], ["history"], ["current"]):
        finished = honua_schema(installed, tmp_path, url, *arguments)
        assert finished.returncode == 0, finished.stderr
    assert dump_schema(url) == dump_schema(from_checkout)

    back = honua_schema(installed, tmp_path, url, "downgrade", "base", "--yes")
    assert back.returncode == 0, back.stderr
    pending = honua_schema(installed, tmp_path, url, "verify")
    assert pending.returncode == 3
    assert list(tmp_path.iterdir()) == []


def test_an_installed_wheel_writes_the_upgrade_as_sql(
    installed: Path, tmp_path: Path, empty_database: URL
) -> None:
    script = honua_schema(installed, tmp_path, empty_database, "sql")
    assert script.returncode == 0, script.stderr
    assert "CREATE TABLE customers (" in script.stdout
    assert "INSERT INTO schema_migrations" in script.stdout


def test_the_package_that_runs_is_the_installed_one(installed: Path, tmp_path: Path) -> None:
    found = subprocess.run(
        [sys.executable, "-c", "import honua_schema; print(honua_schema.__file__)"],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(installed)}, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert found.stdout.strip() == str(installed / "honua_schema" / "__init__.py")
