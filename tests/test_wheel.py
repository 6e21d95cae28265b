"""The wheel does in an empty folder what the checkout does."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import URL

PROJECT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, PROJECT],
        check=True, capture_output=True,
    )  # fmt: skip
    (built,) = folder.glob("*.whl")
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
