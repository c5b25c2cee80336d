"""Standard output and error that never end a study: whatever they can encode, whether anybody reads them or not."""

import codecs
import io
import os
import sys
import unicodedata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Buffer

_PLAIN = {"−": "-", "–": "-", "—": "-", "·": "*", "×": "x", "→": "->", "≥": ">=", "≤": "<=", "±": "+-", "…": "..."}


class _Output(io.FileIO):
    """A descriptor to write to; from the first error on, what is written is lost and nobody is told."""

    error: OSError | None = None

    def write(self, content: "Buffer") -> int:
        if self.error is None:
            try:
                return super().write(content)
            except OSError as error:
                self.error = error
        return memoryview(content).nbytes


def harden() -> None:
    """Make `sys.stdout` and `sys.stderr` such streams; in their place, where they are closed, /dev/null.

    Streams that a program has put in their place are left alone.
    """
    codecs.register_error("patchbench", _as_plain)
    for number in (0, 1, 2):  # else the next file that is opened, a record perhaps, would get what programs print
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stdout is sys.__stdout__:
        sys.stdout = _hardened(sys.stdout, 1)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _hardened(sys.stderr, 2)


def lost() -> OSError | None:
    """Why part of standard output was lost; None where nothing was, or where its reader has had enough (`| head`)."""
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    error = raw.error if isinstance(raw, _Output) else None
    return None if isinstance(error, BrokenPipeError) else error


def _hardened(stream: Any, descriptor: int) -> io.TextIOWrapper:
    encoding = "utf-8" if stream is None else stream.encoding
    if stream is not None:
        stream.flush()
    raw = _Output(descriptor, "w", closefd=False)
    buffered = io.BufferedWriter(raw)
    return io.TextIOWrapper(buffered, encoding, errors="patchbench", line_buffering=True)


def _as_plain(error: UnicodeError) -> tuple[str, int]:
    """Signs that an encoding lacks by those that it has: −1.5 ± .2 is -1.5 +- .2 in ASCII; ? where there is none."""
    assert isinstance(error, UnicodeEncodeError)
    signs = (
        _PLAIN.get(sign) or unicodedata.normalize("NFKD", sign).encode("ascii", "ignore").decode() or "?"
        for sign in error.object[error.start : error.end]
    )
    return "".join(signs), error.end
