"""What squawk, which knows what locks and what rewrites, says of SQL for a database in use."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(sys.executable).with_name("squawk")
NO_MATTER = (
    "prefer-robust-stmts",  # what commits in between can be repeated
    "require-timeout-settings",  # where the upgrade waits for locks, it sets one
)


def warnings(sql: str) -> set[str]:
    """Return the names of the rules that the SQL breaks."""
    finished = subprocess.run(
        [PROGRAM, "--reporter", "json", "--exclude", ",".join(NO_MATTER), "--stdin-filepath", "upgrade.sql"],
        input=sql, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert finished.returncode in {0, 1}, finished.stderr
    return {warning["rule_name"] for warning in json.loads(finished.stdout or "[]")}
