"""Shows that a program is at work, and how far it is."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console


@contextmanager
def progress(what: str, console: Console | None = None) -> Iterator[Callable[[float], None]]:
    """Show a progress bar for as long as the block lasts: on a terminal, and nothing elsewhere.

    Args:
        what: What goes on.
        console: Where to show it. Defaults to standard output.

    Yields:
        A function that takes the share that is done, from 0 to 1; the bar only moves to and fro until it is
        called.
    """
    if not (console.is_terminal if console else sys.stdout.isatty()):
        yield lambda _: None
        return
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done: bar.update(task, total=1.0, completed=done)
