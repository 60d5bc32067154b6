"""marimo takes the console for its own class."""

from __future__ import annotations

import contextlib
import io
import sys
import threading
from collections.abc import Callable, Iterator

from host.consoles import (
    SessionStream,
    a_console,
    logged,
    proxy,
    run_threads,
    started,
)
from waiting import PATIENCE_S

from mpkernel.host import console


@contextlib.contextmanager
def a_marimo_console() -> Iterator[io.TextIOWrapper]:
    from marimo._messaging import thread_local_streams as streams

    class MarimoProxy(console.ConsoleProxy, streams.ThreadLocalStreamProxy):
        def _set_stream(self, stream: io.TextIOBase) -> None:
            self.set_stream(stream)

        def _clear_stream(self) -> None:
            self.clear_stream()

        def _get_stream(self) -> object:
            return self.current()

    with a_console(MarimoProxy) as log:
        yield log


def test_marimo_takes_the_proxy_for_its_own_and_sets_streams_by_thread():
    with a_marimo_console() as log:
        from marimo._messaging import thread_local_streams as streams

        assert isinstance(sys.stdout, streams.ThreadLocalStreamProxy)
        assert (sys.stdout.name, sys.stdout.encoding, sys.stdout.errors) == (
            "<stdout>",
            "utf-8",
            "strict",
        )
        pairs = {name: (SessionStream(), SessionStream()) for name in "ab"}
        together = threading.Barrier(2)

        def session(name: str) -> Callable[[], None]:
            def body() -> None:
                streams.set_thread_local_streams(*pairs[name])  # type: ignore[arg-type]
                together.wait(PATIENCE_S)
                print(name)
                sys.stdout.buffer.write(name.encode())
                started(threading.Thread(target=print, args=("child",)))
                print("bad", name, file=sys.stderr)
                together.wait(PATIENCE_S)
                streams.clear_thread_local_streams()
                print("cleared")

            return body

        run_threads(*(session(name) for name in pairs))
        for name, (out, err) in pairs.items():
            assert (out.text, err.text) == (f"{name}\n{name}child\n", f"bad {name}\n")
        assert logged(log) == "cleared\ncleared\n"


def test_marimos_captures_swap_the_stream_of_their_thread_only():
    with a_marimo_console():
        from marimo._runtime.capture import capture_stdout

        capturing, other = SessionStream(), SessionStream()
        inside, printed = threading.Event(), threading.Event()
        captured: list[str] = []

        def captures() -> None:
            proxy().set_stream(capturing)
            with capture_stdout() as buffer:
                print("captured")
                inside.set()
                assert printed.wait(PATIENCE_S)
            print("released")
            captured.append(buffer.getvalue())

        def prints() -> None:
            proxy().set_stream(other)
            assert inside.wait(PATIENCE_S)
            print("mine")
            printed.set()

        run_threads(captures, prints)
        assert captured == ["captured\n"]
        assert (capturing.text, other.text) == ("released\n", "mine\n")


def test_a_capture_without_a_session_leaves_no_stream_behind():
    with a_marimo_console() as log:
        from marimo._runtime.capture import capture_stdout

        with capture_stdout() as buffer:
            print("captured")
        copies = proxy()._inherited_stream()
        print("after")
        assert copies is None
        assert (buffer.getvalue(), logged(log)) == ("captured\n", "after\n")
