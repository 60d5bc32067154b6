"""Redirections and captures of what one thread prints, and the threads that it starts.

`contextlib.redirect_stdout` is for the whole session; how is in `session_streams`.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from typing import TextIO

from mpkernel.kernel.process.proxies import thread_stream

__all__ = ["capture_stderr", "capture_stdout", "redirect_stderr", "redirect_stdout"]


@contextlib.contextmanager
def _redirected(name: str, target: TextIO) -> Iterator[TextIO]:
    with thread_stream(name, target):
        yield target


def redirect_stdout(target: TextIO) -> contextlib.AbstractContextManager[TextIO]:
    """What this thread, and threads it starts, print in the `with` goes to `target`; what the
    session's others print does not. (`contextlib.redirect_stdout` is for the whole session.)"""
    return _redirected("stdout", target)


def redirect_stderr(target: TextIO) -> contextlib.AbstractContextManager[TextIO]:
    """The same, for stderr."""
    return _redirected("stderr", target)


@contextlib.contextmanager
def capture_stdout() -> Iterator[io.StringIO]:
    """What this thread, and threads it starts, print in the `with`, as a `StringIO`."""
    captured = io.StringIO()
    with redirect_stdout(captured):
        yield captured


@contextlib.contextmanager
def capture_stderr() -> Iterator[io.StringIO]:
    """The same, for stderr."""
    captured = io.StringIO()
    with redirect_stderr(captured):
        yield captured
