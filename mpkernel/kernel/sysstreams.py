"""Redirecting and capturing what one thread prints, and the threads that it starts.

`contextlib.redirect_stdout` redirects for the whole session instead; see `session_streams`.
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
    """In this `with`, what this thread and threads that it starts print to stdout goes to `target`.
    Other threads of the session are not redirected. (`contextlib.redirect_stdout` redirects them,
    too.)"""
    return _redirected("stdout", target)


def redirect_stderr(target: TextIO) -> contextlib.AbstractContextManager[TextIO]:
    """The same, for stderr."""
    return _redirected("stderr", target)


@contextlib.contextmanager
def capture_stdout() -> Iterator[io.StringIO]:
    """Gives a `StringIO`, into which goes what this thread and threads that it starts print to
    stdout in the `with`."""
    captured = io.StringIO()
    with redirect_stdout(captured):
        yield captured


@contextlib.contextmanager
def capture_stderr() -> Iterator[io.StringIO]:
    """The same, for stderr."""
    captured = io.StringIO()
    with redirect_stderr(captured):
        yield captured
