"""A terminal that a program runs on, with the screen as a person sees it."""

from __future__ import annotations

import signal
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pexpect
import pyte

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

PATIENCE = 30  # seconds, for a machine that is busy


def heed_interrupts() -> None:
    """Undo what a shell does to tests in the background: they, and all they start, ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Terminal:
    """A program on a terminal; its keys are pressed with ``press``.

    Args:
        arguments: Arguments of ``honua-schema``.
        environment: The program's environment.
        columns: Width of the screen.
        lines: Height of the screen.
    """

    def __init__(
        self, arguments: list[str], environment: Mapping[str, str], *, columns: int, lines: int
    ) -> None:
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self._screen)
        self.output = b""
        self.program = pexpect.spawn(
            sys.executable, ["-m", "honua_schema", *arguments],
            env=dict(environment), dimensions=(lines, columns), preexec_fn=heed_interrupts,
        )  # fmt: skip

    @property
    def screen(self) -> list[str]:
        """What stands on the screen, line by line."""
        return [line.rstrip() for line in self._screen.display]

    @property
    def cursor_is_hidden(self) -> bool:
        return bool(self._screen.cursor.hidden)

    def until(self, what: Callable[[list[str]], object]) -> list[str]:
        """Return the screen as soon as something is true of it."""
        deadline = time.monotonic() + PATIENCE
        while not what(self.screen):
            assert time.monotonic() < deadline, "\n".join(self.screen)
            self._take()
        return self.screen

    def press(self, keys: str) -> None:
        self.program.send(keys)

    def resize(self, columns: int, lines: int) -> None:
        """Resize the terminal, as a window manager does: the program is told, the screen is empty."""
        self._screen.resize(lines, columns)
        self._screen.reset()
        self.program.setwinsize(lines, columns)

    def end(self) -> int:
        """Wait until the program has ended, and return its exit code, negative for a signal."""
        deadline = time.monotonic() + PATIENCE
        while self._take():
            assert time.monotonic() < deadline, "\n".join(self.screen)
        self.program.wait()
        return self.program.exitstatus if self.program.exitstatus is not None else -self.program.signalstatus

    def _take(self) -> bool:
        with suppress(pexpect.TIMEOUT):
            try:
                output = self.program.read_nonblocking(65_536, timeout=0.1)
            except pexpect.EOF:
                return False
            self.output += output
            self._stream.feed(output)
        return True


@contextmanager
def terminal(
    *arguments: str, environment: Mapping[str, str], columns: int = 120, lines: int = 40
) -> Iterator[Terminal]:
    """Run ``honua-schema`` on a terminal, and end it when the block is left."""
    opened = Terminal([*arguments], environment, columns=columns, lines=lines)
    try:
        yield opened
    finally:
        opened.program.close(force=True)
