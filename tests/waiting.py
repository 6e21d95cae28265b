"""Waiting for what other processes do."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE = 300  # seconds; what is waited for takes a moment, but the machine may be busy


def until(condition: Callable[[], Any]) -> Any:
    """Wait until something is so, and return what it is then."""
    give_up = time.monotonic() + PATIENCE
    while time.monotonic() < give_up:
        if value := condition():
            return value
        time.sleep(0.02)
    raise AssertionError("it did not come to pass")
