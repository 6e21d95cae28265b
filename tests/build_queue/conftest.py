"""The build queue under test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from build_queue.driver import Queue

if TYPE_CHECKING:
    import psycopg


@pytest.fixture
def queue(connection: psycopg.Connection[Any]) -> Queue:
    """The build queue, empty, used from ``connection``."""
    return Queue(connection)
