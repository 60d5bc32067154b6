"""The console: the text of each thread goes to its own stream."""

from __future__ import annotations

import contextlib
import gc
import io
import sys
import threading
import weakref
from collections.abc import Callable

import pytest
from host.consoles import (
    SessionStream,
    in_session,
    logged,
    on_a_console,
    proxy,
    run_threads,
)
from waiting import PATIENCE_S

from mpkernel.host import console


@on_a_console
def test_a_thread_without_a_stream_writes_to_the_processs_own_stdout(log):
    print("nobody's")
    assert logged(log) == "nobody's\n"


@on_a_console
def test_sessions_that_print_at_once_never_see_each_others_text(log):
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    streams = {name: SessionStream() for name in "abcd"}
    together = threading.Barrier(len(streams))

    def chatter(name: str) -> Callable[[], None]:
        def body() -> None:
            proxy().set_stream(streams[name])
            together.wait(PATIENCE_S)
            for _ in range(2000):
                print(name, end="")
                sys.stdout.writelines([name, name])
                sys.stdout.buffer.write(name.encode())
                sys.stdout.flush()

        return body

    try:
        run_threads(*(chatter(name) for name in streams))
    finally:
        sys.setswitchinterval(before)
    assert {name: stream.text for name, stream in streams.items()} == {
        name: name * 8000 for name in streams
    }
    assert logged(log) == ""


@on_a_console
def test_stderr_has_streams_of_its_own(log):
    out, err = SessionStream(), SessionStream()

    def body() -> None:
        assert isinstance(sys.stderr, console.ConsoleProxy)
        sys.stderr.set_stream(err)
        print("fine")
        print("bad", file=sys.stderr)

    in_session(out, body)
    assert (out.text, err.text) == ("fine\n", "bad\n")


@on_a_console
def test_after_clear_stream_the_thread_writes_to_the_original_again(log):
    stream = SessionStream()

    def body() -> None:
        proxy().clear_stream()
        print("late")

    in_session(stream, body)
    assert stream.text == ""
    assert logged(log) == "late\n"


@on_a_console
def test_the_original_and_the_proxy_itself_count_as_no_stream(log):
    proxy().set_stream(proxy().current())
    proxy().set_stream(proxy())
    print("still fine")
    log.close()
    assert proxy().current() is log


@on_a_console
def test_the_end_of_a_thread_ends_its_registration(log):
    stream = SessionStream()
    in_session(stream, lambda: None)
    gone = weakref.ref(stream)
    del stream
    gc.collect()
    assert gone() is None


@on_a_console
def test_late_output_for_a_closed_stream_goes_to_the_processs_log(log):
    stream = SessionStream()

    def body() -> None:
        stream.close()
        print("late")
        sys.stdout.writelines(["too ", "late\n"])
        sys.stdout.flush()

    in_session(stream, body)
    assert stream.text == ""
    assert logged(log) == "late\ntoo late\n"


@on_a_console
def test_a_stream_that_closes_under_a_write_does_not_fail_the_user(log):
    class ClosesUnderWrite(SessionStream):
        def write(self, text: str) -> int:
            self.close()
            return super().write(text)

    class ClosesUnderFlush(SessionStream):
        closed = False

        def flush(self) -> None:
            self.closed = True
            raise ValueError("I/O operation on closed file")

    in_session(ClosesUnderWrite(), lambda: print("caught"))
    in_session(ClosesUnderFlush(), lambda: sys.stdout.flush())
    assert logged(log) == "caught\n"


@on_a_console
def test_a_value_error_of_an_open_stream_reaches_the_user(log):
    class Picky(SessionStream):
        def write(self, text: str) -> int:
            raise ValueError("not this")

    with pytest.raises(ValueError, match="not this"):
        in_session(Picky(), lambda: print("x"))


@on_a_console
def test_write_counts_characters_and_refuses_bytes(log):
    def body() -> None:
        assert sys.stdout.write("grün") == 4
        with pytest.raises(TypeError, match="must be str, not bytes"):
            sys.stdout.write(b"raw")  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="must be str, not int"):
            sys.stdout.writelines(["one", 2])  # type: ignore[list-item]

    stream = SessionStream()
    in_session(stream, body)
    assert stream.text == "grünone"
    with pytest.raises(TypeError, match="must be str, not bytes"):
        sys.stdout.write(b"raw")  # type: ignore[arg-type]


@on_a_console
def test_writelines_writes_each_line_through_write(log):
    stream = SessionStream()
    in_session(stream, lambda: sys.stdout.writelines(f"{n}\n" for n in range(3)))
    assert stream.written == ["0\n", "1\n", "2\n"]


@on_a_console
def test_the_attributes_are_those_of_a_text_file(log, tmp_path):
    with (tmp_path / "log").open("w", encoding="latin-1", errors="ignore") as original:
        own = console.ConsoleProxy(original, "<stdout>")
        assert (own.name, own.mode, own.encoding, own.errors) == (
            "<stdout>",
            "w",
            "latin-1",
            "ignore",
        )
        assert (own.readable(), own.writable(), own.seekable()) == (False, True, False)
        assert (own.newlines, own.line_buffering, own.isatty()) == (None, False, False)
        assert own.fileno() == original.fileno()
        assert own.buffer is original.buffer
        own.reconfigure(line_buffering=True)
        assert original.line_buffering
        own.set_stream(SessionStream())
        assert (own.encoding, own.errors, own.fileno()) == ("utf-8", "strict", original.fileno())
        with pytest.raises(AttributeError, match="nonesuch"):
            _ = own.nonesuch


@on_a_console
def test_closing_the_console_closes_it_for_nobody(log):
    stream = SessionStream()

    def body() -> None:
        with sys.stdout:
            print("inside")
        sys.stdout.close()
        sys.stdout.buffer.close()
        print("after")

    in_session(stream, body)
    sys.stdout.close()
    print("the process too")
    assert stream.text == "inside\nafter\n"
    assert (sys.stdout.closed, log.closed) == (False, False)
    assert logged(log) == "the process too\n"


@on_a_console
def test_a_redirect_by_contextlib_takes_the_text_and_gives_the_session_back_its_own(log):
    stream, taken = SessionStream(), io.StringIO()

    def body() -> None:
        with contextlib.redirect_stdout(taken):
            print("inside")
        print("outside")

    in_session(stream, body)
    assert (taken.getvalue(), stream.text) == ("inside\n", "outside\n")


@on_a_console
def test_a_destructor_that_prints_inside_a_write_neither_hangs_nor_loses_a_word(log):
    class Farewell:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            print("bye", end=" ")
            sys.stdout.buffer.write("grün ".encode())

    class CollectsInWrite(SessionStream):
        def write(self, text: str) -> int:
            if text == "hello":
                gc.collect()
            return super().write(text)

    stream = CollectsInWrite()

    def body() -> None:
        Farewell()
        print("hello", end="")
        Farewell()
        sys.stdout.buffer.write(b"hello")

    gc.collect()
    in_session(stream, body)
    assert stream.text == "bye grün hello" * 2
