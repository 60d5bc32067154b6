"""What the tests of the console share: a session's stream, a console for the test alone,
threads."""

from __future__ import annotations

import contextlib
import functools
import inspect
import io
import os
import subprocess
import sys
import textwrap
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

from waiting import PATIENCE_S

from mpkernel.host import console


class SessionStream(io.TextIOBase):
    """A session's stream that hands each thread a copy over the same list of writes."""

    def __init__(self, written: list[str] | None = None) -> None:
        self.written = [] if written is None else written
        self.copies: list[weakref.ref[SessionStream]] = []
        self.copied_in: list[int] = []

    def write(self, text: str) -> int:
        if self.closed:
            raise ValueError("I/O operation on closed file")
        self.written.append(text)
        return len(text)

    def for_thread(self) -> SessionStream:
        copy = SessionStream(self.written)
        self.copies.append(weakref.ref(copy))
        self.copied_in.append(threading.get_ident())
        return copy

    @property
    def text(self) -> str:
        return "".join(self.written)


@contextlib.contextmanager
def a_console(
    make_proxy: Callable[[TextIO, str], console.ConsoleProxy] = console.ConsoleProxy,
) -> Iterator[io.TextIOWrapper]:
    """The proxies over files of the test's own; gives the one that stands for stdout."""
    before = sys.stdout, sys.stderr
    raw = io.BytesIO()
    sys.stdout = io.TextIOWrapper(raw, encoding="utf-8", write_through=True)
    sys.stderr = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    original = sys.stdout
    console.install(make_proxy)
    try:
        yield original
    finally:
        for proxy in (sys.stdout, sys.stderr):
            if isinstance(proxy, console.ConsoleProxy):
                proxy.clear_stream()
        console.uninstall()
        sys.stdout, sys.stderr = before


def on_a_console(test: Callable[..., None]) -> Callable[..., None]:
    """Give `test` a console as `log`. No fixture: pytest changes sys.stdout after those."""

    @functools.wraps(test)
    def run(**fixtures: object) -> None:
        with a_console() as log:
            test(log, **fixtures)

    signature = inspect.signature(test)
    others = [p for p in signature.parameters.values() if p.name != "log"]
    run.__signature__ = signature.replace(parameters=others)  # type: ignore[attr-defined]
    return run


def logged(log: io.TextIOWrapper) -> str:
    raw = log.buffer
    assert isinstance(raw, io.BytesIO)
    return raw.getvalue().decode()


def proxy() -> console.ConsoleProxy:
    assert isinstance(sys.stdout, console.ConsoleProxy)
    return sys.stdout


def in_session(stream: io.TextIOBase, body: Callable[[], None]) -> None:
    """Run `body` to its end on a session's thread whose stdout is `stream`."""
    failures: list[BaseException] = []

    def kernel() -> None:
        proxy().set_stream(stream)
        try:
            body()
        except BaseException as error:  # noqa: BLE001 - raised in the test's own thread below
            failures.append(error)

    thread = threading.Thread(target=kernel)
    thread.start()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    for failure in failures:
        raise failure


def run_script(tmp_path: Path, body: str) -> subprocess.CompletedProcess[str]:
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(body), encoding="utf-8")
    return subprocess.run(
        # From 3.12 a fork beside threads warns on stderr.
        [sys.executable, "-W", "ignore::DeprecationWarning", str(script)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env={
            **os.environ,
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "PYTHONUNBUFFERED": "",
        },
    )


def run_threads(*bodies: Callable[[], None]) -> None:
    threads = [threading.Thread(target=body) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert not any(thread.is_alive() for thread in threads)


def started(thread: threading.Thread) -> None:
    thread.start()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
