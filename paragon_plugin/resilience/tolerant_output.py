"""Standard output and standard error on which a print never fails: any text, any encoding, any reader.

What the stream's encoding lacks is written as escapes (`\\xef`). Where nobody reads any more, as behind `| head -1`, or
where the terminal or the disk is gone, what follows is dropped: a training goes on, and a command ends with its own
exit status.
"""

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO


class TolerantOutput(io.TextIOBase):
    """A text stream around another one, which it otherwise looks like.

    Args:
        stream: Where to write; None, which Python has for a stream that was closed before the start, drops everything.
    """

    def __init__(self, stream: TextIO | None):
        self.stream = stream

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        """Write what can be written; returns the length of the text."""
        if self.stream is not None:
            with self._forgiving():
                try:
                    self.stream.write(text)
                except UnicodeEncodeError:
                    encoding = self.encoding
                    self.stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        return len(text)

    def flush(self) -> None:
        if self.stream is not None:
            with self._forgiving():
                self.stream.flush()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The stream's; what tqdm asks for to choose its bar."""
        return getattr(self.stream, "encoding", None) or "ascii"

    def isatty(self) -> bool:
        try:
            return self.stream is not None and self.stream.isatty()
        except ValueError:  # closed
            return False

    def fileno(self) -> int:
        if self.stream is None:
            raise io.UnsupportedOperation("fileno")
        return self.stream.fileno()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    @contextlib.contextmanager
    def _forgiving(self) -> Iterator[None]:
        """What cannot be written is dropped from now on, and so is what the stream still holds."""
        try:
            yield
        except (OSError, ValueError):  # no reader, no disk, no terminal; a stream that was closed
            stream, self.stream = self.stream, None
            with contextlib.suppress(OSError, ValueError, AttributeError):
                # The interpreter flushes what is left of the stream at its end, and would complain.
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, stream.fileno())  # type: ignore[union-attr]
                os.close(nowhere)


@contextlib.contextmanager
def tolerant_output() -> Iterator[None]:
    """Inside, `sys.stdout` and `sys.stderr` are tolerant; everything prints there, the handlers of logs included."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (TolerantOutput(stream) for stream in before)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        sys.stdout, sys.stderr = before
