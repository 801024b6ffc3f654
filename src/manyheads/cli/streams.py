"""Standard output and standard error that outlive their readers.

    with outliving_readers():
        ...      # what is written to a pipe that nobody reads any more is dropped; `unread()` tells whether results were

Progress and messages are no results: whatever happens to standard error, the work goes on.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout, suppress
from typing import Any, TextIO, cast

from manyheads.errors import Problem, ResourceError


class _Outliving:
    """A text stream. Once a write fails, its descriptor leads nowhere, and `left` tells so.

    strict  whether a failure other than a reader's leaving, such as a full disk, is a ResourceError at every write
    """

    def __init__(self, stream: TextIO, strict: bool) -> None:
        self._stream, self._strict = stream, strict
        self._failed: ResourceError | None = None
        self.left = False

    def write(self, text: str) -> int:
        try:
            self._stream.write(text)
        except OSError as error:
            self._fail(error)
        self._check()
        return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._fail(error)
        self._check()

    def _fail(self, error: OSError) -> None:
        """Lead the descriptor nowhere, so that the interpreter can flush at its end, and native code can write on."""
        with suppress(OSError):  # a stream of Python alone has no descriptor
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)
        self.left = True
        if self._strict and not isinstance(error, BrokenPipeError):
            self._failed = ResourceError(Problem(f"standard output cannot be written: {error.strerror or error}"))

    def _check(self) -> None:
        if self._failed is not None:  # told again at every write: click tries a stream first, and drops what that raises
            raise self._failed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def outliving_readers() -> Iterator[None]:
    """While the block runs, sys.stdout and sys.stderr outlive their readers. Those that were closed lead nowhere."""
    with ExitStack() as stack:
        out, err = (stream or stack.enter_context(open(os.devnull, "w")) for stream in (sys.stdout, sys.stderr))
        stack.enter_context(redirect_stdout(cast(TextIO, _Outliving(out, strict=True))))
        stack.enter_context(redirect_stderr(cast(TextIO, _Outliving(err, strict=False))))
        yield


def unread() -> bool:
    """Whether nobody reads standard output any more, so that further results are of no use."""
    return isinstance(sys.stdout, _Outliving) and sys.stdout.left
