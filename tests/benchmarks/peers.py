"""Other queues: installed from their packages, with their own schema, driven by their own statements.

Each is described by a program in ``peers/`` that runs where the package is installed, and takes the schema
and the statements from it. Constants stand in place of parameters whose value never changes.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.contestants import PAYLOAD, Contestant, connect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import URL

DESCRIPTIONS = Path(__file__).with_name("peers")
PYTHON_PEERS = ("procrastinate", "pgqueuer")
NODE_PEERS = ("graphile-worker", "pg-boss")
NAMES = (*PYTHON_PEERS, *NODE_PEERS)
ENVIRONMENT = Path(sys.prefix) / "bench-peers"


def _run(*command: str | Path, **variables: str) -> str:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PG", "DATABASE_"))
    }
    finished = subprocess.run(
        command, env=environment | variables, capture_output=True, text=True, check=False
    )  # fmt: skip
    assert finished.returncode == 0, f"{command}: {finished.stdout}{finished.stderr}"
    return finished.stdout


def _python_environment() -> Path:
    """Return the Python of an environment with the peers, made anew for other versions of them."""
    python, wanted = ENVIRONMENT / "python" / "bin" / "python", DESCRIPTIONS / "requirements.txt"
    installed = ENVIRONMENT / "python" / "requirements.txt"
    if not installed.exists() or installed.read_text() != wanted.read_text():
        _run(sys.executable, "-m", "venv", "--clear", ENVIRONMENT / "python")
        _run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", wanted)
        shutil.copy(wanted, installed)
    return python


def _node_environment() -> Path:
    """Return the folder of node packages with the peers, likewise."""
    folder, wanted = ENVIRONMENT / "node", DESCRIPTIONS / "package.json"
    installed = folder / "installed.json"
    if not installed.exists() or installed.read_text() != wanted.read_text():
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(wanted, folder / "package.json")
        _run("npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", folder)
        shutil.copy(wanted, installed)
    return folder / "node_modules"


@cache
def _describe(name: str, **variables: str) -> dict[str, Any]:
    program = DESCRIPTIONS / f"describe_{name.replace('-', '_')}"
    if name in PYTHON_PEERS:
        # Isolated, because the program's folder would else come first on the path of modules.
        output = _run(_python_environment(), "-I", program.with_suffix(".py"), PAYLOAD, **variables)
    else:
        packages = str(_node_environment())
        output = _run(
            f"{packages}/.bin/node", program.with_suffix(".cjs"), PAYLOAD, NODE_PATH=packages, **variables
        )
    described: dict[str, Any] = json.loads(output)
    return described


def _install(name: str, url: URL) -> None:
    # With a database in its environment, the program also does what is not to be had as SQL.
    described = _describe(
        name,
        PGHOST=str(url.query["host"]), PGPORT=str(url.query["port"]),
        PGUSER=str(url.username), PGDATABASE=str(url.database),
    )  # fmt: skip
    with connect(url) as connection:
        for script in described["schema"]:
            connection.execute(script.encode())


def peers() -> Iterator[Contestant]:
    """Yield the peers that can be installed here: those of Node only where it is present."""
    has_node = shutil.which("node") and shutil.which("npm")
    for name in NAMES if has_node else PYTHON_PEERS:
        described = {key: value for key, value in _describe(name).items() if key != "schema"}
        yield Contestant(name=name, install=partial(_install, name), **described)
