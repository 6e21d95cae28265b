"""The queue keeps its promises while processes die around it; and the test would notice if it did not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hammer.__main__ import PLANS


def hammer(plan: str, folder: Path, bin_folder: Path | None) -> str:
    """Run a plan in a process of its own, for it forks, and return its report."""
    options = [f"--folder={folder}", *([f"--pg-bin={bin_folder}"] if bin_folder else [])]
    paths = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    finished = subprocess.run(
        [sys.executable, "-m", "hammer", plan, *options],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


def test_the_queue_withstands_kills_stops_and_crashes(server_folder: Path, bin_folder: Path | None) -> None:
    assert "violations: none" in hammer("short", server_folder, bin_folder)


@pytest.mark.parametrize(
    ("protection", "invariant"),
    [
        ("fence", "late_workers_are_refused"),
        ("durability", "acknowledged_is_kept"),
        ("admission", "concurrency_limit_over_time"),
    ],
)
def test_the_loss_of_a_protection_is_noticed(
    server_folder: Path, bin_folder: Path | None, protection: str, invariant: str
) -> None:
    plan = f"without-{protection}"
    assert PLANS[plan].without == protection
    assert f"'{invariant}'" in hammer(plan, server_folder, bin_folder)
