"""The console by thread: whose text goes where, and what is left when the proxies are gone."""

from __future__ import annotations

import contextlib
import functools
import gc
import inspect
import io
import os
import subprocess
import sys
import textwrap
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TextIO

import pytest

from mpkernel.host import console

WAIT_S = 30


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
    thread.join(WAIT_S)
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
        thread.join(WAIT_S)
    assert not any(thread.is_alive() for thread in threads)


def started(thread: threading.Thread) -> None:
    thread.start()
    thread.join(WAIT_S)
    assert not thread.is_alive()


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
            together.wait(WAIT_S)
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


@on_a_console
def test_bytes_of_a_session_come_out_as_its_text(log):
    stream = SessionStream()

    def body() -> None:
        assert sys.stdout.buffer.write("grün\n".encode()) == 6
        assert sys.stdout.buffer.write(memoryview(b"view\n")) == 5
        sys.stdout.buffer.writelines([b"a", b"b\n"])
        with pytest.raises(TypeError, match="bytes-like"):
            print("text", file=sys.stdout.buffer)

    in_session(stream, body)
    assert stream.text == "grün\nview\nab\n"
    assert logged(log) == ""


@on_a_console
def test_a_character_split_over_two_writes_stays_one_character_whoever_writes_between(log):
    streams = SessionStream(), SessionStream()
    halves = "€".encode()[:2], "€".encode()[2:]
    written = threading.Barrier(2)

    def session(stream: SessionStream) -> Callable[[], None]:
        def body() -> None:
            proxy().set_stream(stream)
            buffer = sys.stdout.buffer
            for half in halves:
                buffer.write(half)
                buffer.flush()
                written.wait(WAIT_S)

        return body

    run_threads(*(session(stream) for stream in streams))
    assert [stream.text for stream in streams] == ["€", "€"]


@on_a_console
def test_half_a_character_is_not_carried_into_the_next_stream(log):
    first, second = SessionStream(), SessionStream()

    def body() -> None:
        sys.stdout.buffer.write(b"a\xe2\x82")
        proxy().set_stream(second)
        sys.stdout.buffer.write(b"\xffb")

    in_session(first, body)
    assert (first.text, second.text) == ("a\ufffd", "\ufffdb")


@on_a_console
def test_a_binary_file_kept_by_one_session_writes_for_whoever_uses_it(log):
    first, second = SessionStream(), SessionStream()
    kept: list[io.BufferedIOBase] = []
    in_session(first, lambda: kept.append(sys.stdout.buffer))
    in_session(second, lambda: print(kept[0].write(b"mine")))
    kept[0].write(b"nobody's")
    assert (first.text, second.text) == ("", "mine4\n")
    assert logged(log) == "nobody's"


@on_a_console
def test_without_a_stream_the_binary_file_is_the_originals(log):
    sys.stdout.buffer.write(b"\xff")
    assert log.buffer.getvalue() == b"\xff"


@on_a_console
def test_a_text_wrapper_over_the_binary_file_does_not_close_it(log):
    stream = SessionStream()

    def body() -> None:
        wrapper = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8")
        wrapper.write("wrapped ")
        wrapper.close()
        with io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8") as wrapper:
            wrapper.write("on")

    in_session(stream, body)
    assert stream.text == "wrapped on"


class PrintsInRun(threading.Thread):
    def run(self) -> None:
        print("subclass")


@on_a_console
def test_a_thread_of_a_session_prints_to_that_session(log):
    stream = SessionStream()

    def body() -> None:
        started(threading.Thread(target=print, args=("child",)))
        started(PrintsInRun())

    in_session(stream, body)
    assert stream.text == "child\nsubclass\n"
    assert logged(log) == ""


@on_a_console
def test_a_child_gets_a_copy_made_in_its_parent(log):
    stream = SessionStream()
    seen: list[object] = []

    def body() -> None:
        started(threading.Thread(target=lambda: seen.append(proxy().current())))
        assert stream.copied_in == [threading.get_ident()]

    in_session(stream, body)
    assert seen == [stream.copies[0]()]
    assert seen[0] is not stream


@on_a_console
def test_a_stream_without_copies_is_shared_with_the_child(log):
    stream = io.StringIO()
    in_session(stream, lambda: started(threading.Thread(target=print, args=("shared",))))
    assert stream.getvalue() == "shared\n"


@on_a_console
def test_threads_started_from_threads_belong_to_the_session_at_their_root(log):
    stream = SessionStream()

    def generation(n: int) -> None:
        print(n)
        if n < 3:
            started(threading.Thread(target=generation, args=(n + 1,)))

    in_session(stream, lambda: generation(0))
    assert stream.text == "0\n1\n2\n3\n"


@on_a_console
def test_pool_workers_and_timers_print_to_the_session_that_made_them(log):
    stream = SessionStream()

    def body() -> None:
        with ThreadPoolExecutor(2) as pool:
            pool.submit(print, "pool", end="").result(WAIT_S)
        rung = threading.Event()
        timer = threading.Timer(0, lambda: (print("timer"), rung.set()))
        timer.start()
        assert rung.wait(WAIT_S)
        timer.join(WAIT_S)

    in_session(stream, body)
    assert stream.text in ("pool\ntimer\n", "pooltimer\n")


@on_a_console
def test_children_of_two_sessions_never_mix(log):
    streams = {name: SessionStream() for name in "ab"}

    def session(name: str) -> Callable[[], None]:
        def body() -> None:
            proxy().set_stream(streams[name])
            with ThreadPoolExecutor(4) as pool:
                for _ in range(500):
                    pool.submit(sys.stdout.write, name)

        return body

    run_threads(*(session(name) for name in streams))
    assert {name: stream.text for name, stream in streams.items()} == {
        "a": "a" * 500,
        "b": "b" * 500,
    }


@on_a_console
def test_a_child_that_outlives_its_session_writes_to_the_processs_log(log):
    stream = io.StringIO()
    over, threads = threading.Event(), []

    def child() -> None:
        over.wait(WAIT_S)
        print("late")

    def body() -> None:
        threads.append(threading.Thread(target=child))
        threads[0].start()

    in_session(stream, body)
    stream.close()
    over.set()
    threads[0].join(WAIT_S)
    assert logged(log) == "late\n"


def test_the_traceback_of_a_child_reaches_its_sessions_stderr(tmp_path):
    done = run_script(
        tmp_path,
        """
        import io, sys, threading
        from mpkernel.host import console
        console.install()
        err = io.StringIO()
        sys.stderr.set_stream(err)
        child = threading.Thread(target=lambda: 1 / 0)
        child.start()
        child.join()
        print(err.getvalue())
        """,
    )
    assert "ZeroDivisionError" in done.stdout
    assert done.stderr == ""


@on_a_console
def test_nothing_of_a_child_is_left_when_it_has_ended(log):
    stream = SessionStream()

    def body() -> None:
        gc.disable()
        child = PrintsInRun()
        started(child)
        assert "run" not in vars(child)
        left = weakref.ref(child)
        del child
        try:
            assert left() is None
            assert stream.copies[0]() is None
        finally:
            gc.enable()

    in_session(stream, body)


@on_a_console
def test_a_thread_that_cannot_start_raises_as_ever_and_stays_as_it_was(log, monkeypatch):
    stream = SessionStream()

    class Unmade(threading.Thread):
        def __init__(self) -> None:
            pass

    def body() -> None:
        with pytest.raises(RuntimeError, match="__init__"):
            Unmade().start()
        thread = threading.Thread(target=print, args=("own run",))
        thread.run = own = lambda: print("own")  # type: ignore[method-assign]
        with monkeypatch.context() as patch:
            name = "_start_joinable_thread" if sys.version_info >= (3, 13) else "_start_new_thread"
            patch.setattr(threading, name, refuse)
            with pytest.raises(RuntimeError, match="can't start new thread"):
                thread.start()
        assert thread.run is own
        started(thread)
        copies = len(stream.copies)
        with pytest.raises(RuntimeError, match="only be started once"):
            thread.start()
        assert thread.run is own
        assert len(stream.copies) == copies

    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("can't start new thread")

    in_session(stream, body)
    assert stream.text == "own\n"


@on_a_console
def test_a_thread_of_no_session_is_started_untouched(log):
    thread = PrintsInRun()
    begun = threading.Event()
    thread.run = begun.set  # type: ignore[method-assign]
    thread.start()
    assert begun.wait(WAIT_S)
    thread.join(WAIT_S)
    assert vars(thread)["run"] == begun.set


@on_a_console
def test_installing_twice_is_installing_once(log):
    out, start = sys.stdout, threading.Thread.start
    console.install()
    assert console.installed()
    assert sys.stdout is out
    assert threading.Thread.start is start
    console.uninstall()
    assert not console.installed()
    assert sys.stdout is log
    console.uninstall()
    assert sys.stdout is log


@on_a_console
def test_uninstall_gives_back_the_true_originals_whoever_replaced_them(log):
    sys.stdout = io.StringIO()
    sys.stderr = sys.stdout
    console.uninstall()
    assert sys.stdout is log
    assert sys.stderr is not log
    assert not isinstance(sys.stderr, io.StringIO)


@on_a_console
def test_uninstall_gives_back_the_start_of_threads(log):
    console.uninstall()
    plain = threading.Thread.start
    console.install()
    assert threading.Thread.start is not plain
    console.uninstall()
    assert threading.Thread.start is plain


@on_a_console
def test_a_tracer_that_wrapped_thread_start_keeps_its_wrapper_and_threads_still_inherit(
    log, monkeypatch
):
    ours = threading.Thread.start
    traced: list[threading.Thread] = []

    def tracing(thread: threading.Thread) -> None:
        traced.append(thread)
        ours(thread)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", tracing)
        console.uninstall()
        assert threading.Thread.start is tracing
        console.install()
        stream = SessionStream()
        in_session(stream, lambda: started(threading.Thread(target=print, args=("x",))))
        console.uninstall()
    threading.Thread.start = console_free_start()  # type: ignore[method-assign]
    assert (stream.text, len(stream.copies), len(traced)) == ("x\n", 1, 2)


def console_free_start() -> Callable[[threading.Thread], None]:
    start = threading.Thread.start
    while (inner := getattr(start, "__wrapped__", None)) is not None:
        start = inner
    return start


def test_a_process_without_stdout_gets_one_for_its_sessions_and_none_back(tmp_path):
    done = run_script(
        tmp_path,
        """
        import io, sys
        from mpkernel.host import console
        sys.stdout = None
        console.install()
        print("nowhere")
        stream = io.StringIO()
        sys.stdout.set_stream(stream)
        print("somewhere")
        console.uninstall()
        assert sys.stdout is None
        sys.stderr.write(stream.getvalue())
        """,
    )
    assert (done.stdout, done.stderr) == ("", "somewhere\n")


def test_the_module_costs_a_host_no_heavy_import(tmp_path):
    done = run_script(
        tmp_path,
        """
        import sys
        from mpkernel.host import console
        print(sorted({"asyncio", "psutil", "uvloop", "marimo", "logging"} & set(sys.modules)))
        """,
    )
    assert done.stdout == "[]\n", done.stderr


FORKING = """
    import io, logging, multiprocessing, os, select, sys, threading
    from mpkernel.host import console

    def status(pid):
        if not select.select([os.pidfd_open(pid)], [], [], 40)[0]:
            os.kill(pid, 9)
        return os.waitpid(pid, 0)[1]

    class Session(io.StringIO):
        def write(self, text):
            assert os.getpid() == home, "a forked child wrote to a session"
            return super().write(text)

    home = os.getpid()
    console.install()
    os.register_at_fork(after_in_child=console.plain_streams)
    proxies = sys.stdout, sys.stderr
    for proxy in proxies:
        proxy.set_stream(Session())
"""


def test_a_forked_child_prints_to_plain_descriptors_and_its_parent_goes_on(tmp_path):
    done = run_script(
        tmp_path,
        FORKING
        + """
    handler = logging.StreamHandler(sys.stderr)
    start = threading.Thread.start

    def child():
        print("child")
        print("child's error", file=sys.stderr)
        sys.__stdout__.write("dunder\\n")
        handler.emit(logging.makeLogRecord({"msg": "logged"}))
        proxies[0].write("")
        thread = threading.Thread(target=print, args=("thread",))
        thread.start()
        thread.join()
        assert not console.installed()
        assert threading.Thread.start is not start
        console.install()
        console.uninstall()

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(30)
    assert process.exitcode == 0, proxies[1].current().getvalue()
    assert console.installed() and sys.stdout is proxies[0]
    assert threading.Thread.start is start
    print("parent")
    assert proxies[0].current().getvalue() == "parent\\n"
    """,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "child\ndunder\nthread\n"
    assert done.stderr == "child's error\nlogged\n"


def test_all_of_twenty_forked_children_print_and_end_while_other_threads_write(tmp_path):
    done = run_script(
        tmp_path,
        FORKING
        + """
    sys.setswitchinterval(1e-4)
    stop = threading.Event()
    never_read, full = os.pipe()
    stuck = open(full, "w", encoding="utf-8")

    def chatter(write):
        while not stop.is_set():
            write("x" * 100)

    class Forgetful(Session):
        def write(self, text):
            self.seek(0)
            return super().write(text)

    def sessions_own():
        for proxy in proxies:
            proxy.set_stream(Forgetful())
        chatter(sys.stdout.write)

    # Holds the lock of a file that is the process's stdout at the fork, for ever.
    sys.__stdout__ = stuck
    threading.Thread(target=chatter, args=(stuck.write,), daemon=True).start()
    writers = [threading.Thread(target=t) for t in (sessions_own, sessions_own)]
    for writer in writers:
        writer.start()
    while select.select([], [full], [], 0)[1]:
        pass
    del stuck
    ended = 0
    for number in range(20):
        pid = os.fork()
        if pid == 0:
            print("child", number, flush=True)
            thread = threading.Thread(target=print, args=("thread", number))
            thread.start()
            thread.join()
            sys.stdout.flush()
            os._exit(0)
        ended += status(pid) == 0
    stop.set()
    for writer in writers:
        writer.join()
    os.write(2, f"{ended} ended".encode())
    os._exit(0)
    """,
    )
    assert done.stderr == "20 ended", done.stderr
    assert sorted(done.stdout.split("\n")) == sorted(
        [f"{what} {n}" for what in ("child", "thread") for n in range(20)] + [""]
    )


def test_a_forked_child_with_closed_descriptors_prints_nowhere_and_lives(tmp_path):
    done = run_script(
        tmp_path,
        FORKING
        + """
    report, answer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.closerange(1, 3)
        console.plain_streams()
        print("nowhere", flush=True)
        print("nowhere", file=sys.stderr)
        proxies[0].write("nowhere")
        os.write(answer, b"alive")
        os._exit(0)
    assert status(pid) == 0
    os.write(1, os.read(report, 100))
    """,
    )
    assert done.stdout == "alive", done.stderr


def test_a_child_forked_while_another_thread_installs_waits_for_no_lock(tmp_path):
    done = run_script(
        tmp_path,
        FORKING
        + """
    console.uninstall()
    inside, go_on = threading.Event(), threading.Event()

    def slow_proxy(original, name):
        inside.set()
        go_on.wait()
        return console.ConsoleProxy(original, name)

    installer = threading.Thread(target=console.install, args=(slow_proxy,))
    installer.start()
    inside.wait()
    pid = os.fork()
    if pid == 0:
        console.install()
        print("child", flush=True)
        os._exit(0)
    left = status(pid)
    go_on.set()
    installer.join()
    assert left == 0, left
    """,
    )
    assert (done.stdout, done.stderr) == ("child\n", "")


def test_what_the_parent_had_not_flushed_is_not_written_by_its_child(tmp_path):
    done = run_script(
        tmp_path,
        FORKING
        + """
    proxies[0].clear_stream()
    print("parent")
    pid = os.fork()
    if pid == 0:
        print("child", flush=True)
        os._exit(0)
    assert status(pid) == 0
    """,
    )
    assert (done.stdout, done.stderr) == ("child\nparent\n", "")


def test_a_sessions_stream_is_not_even_collected_in_a_forked_child(tmp_path):
    done = run_script(
        tmp_path,
        FORKING
        + """
    class Careful(io.StringIO):
        def __del__(self):
            if os.getpid() != home:
                os.write(1, b"collected")

    for proxy in proxies:
        proxy.set_stream(Careful())
    pid = os.fork()
    if pid == 0:
        import gc
        gc.collect()
        os._exit(0)
    assert status(pid) == 0
    """,
    )
    assert (done.stdout, done.stderr) == ("", "")


@contextlib.contextmanager
def a_marimo_console() -> Iterator[io.TextIOWrapper]:
    streams = pytest.importorskip("marimo._messaging.thread_local_streams")

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
                together.wait(WAIT_S)
                print(name)
                sys.stdout.buffer.write(name.encode())
                started(threading.Thread(target=print, args=("child",)))
                print("bad", name, file=sys.stderr)
                together.wait(WAIT_S)
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
                assert printed.wait(WAIT_S)
            print("released")
            captured.append(buffer.getvalue())

        def prints() -> None:
            proxy().set_stream(other)
            assert inside.wait(WAIT_S)
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
        copies = proxy()._bequest()
        print("after")
        assert copies is None
        assert (buffer.getvalue(), logged(log)) == ("captured\n", "after\n")
