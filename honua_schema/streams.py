"""The standard streams of the command line: what can't be printed never ends a command halfway."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import Any, TextIO


class LenientFile(io.FileIO):
    """Takes what it can't write, and remembers why: a full disk must not leave an upgrade half done.

    Args:
        descriptor: Where to write.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self.loss: OSError | None = None

    def write(self, data: Any, /) -> int:
        """Write bytes, or nothing any more once that has failed.

        Args:
            data: The bytes.
        """
        if self.loss is None:
            try:
                return super().write(data)
            except OSError as error:
                self.loss = error
        return len(data)


def make_lenient() -> None:
    """Replace the standard streams by some that raise no error, whatever is printed and wherever it goes."""
    if sys.stdin is None:
        sys.stdin = Path(os.devnull).open(encoding="utf-8")  # noqa: SIM115
    sys.stdout = _lenient(sys.stdout, errors="replace")
    sys.stderr = _lenient(sys.stderr, errors="backslashreplace")


def _lenient(stream: TextIO | None, *, errors: str) -> TextIO:
    if stream is None:  # closed, as with >&-; else the next connection would get its number
        return Path(os.devnull).open("w", encoding="utf-8")
    try:
        file = LenientFile(stream.fileno())
    except io.UnsupportedOperation:  # a buffer, of a test
        return stream
    stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(file),
        encoding=stream.encoding,
        errors=errors,
        line_buffering=True,
    )


def output_loss() -> OSError | None:
    """Return why not all of the output could be written, None if it could."""
    sys.stdout.flush()
    file = getattr(sys.stdout.buffer, "raw", None)
    return file.loss if isinstance(file, LenientFile) else None
