"""Threads that a session starts: their text goes to the session."""

from __future__ import annotations

import gc
import io
import sys
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from host.consoles import (
    SessionStream,
    in_session,
    logged,
    on_a_console,
    proxy,
    run_script,
    run_threads,
    started,
)
from waiting import PATIENCE_S


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
            pool.submit(print, "pool", end="").result(PATIENCE_S)
        rung = threading.Event()
        timer = threading.Timer(0, lambda: (print("timer"), rung.set()))
        timer.start()
        assert rung.wait(PATIENCE_S)
        timer.join(PATIENCE_S)

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
        over.wait(PATIENCE_S)
        print("late")

    def body() -> None:
        threads.append(threading.Thread(target=child))
        threads[0].start()

    in_session(stream, body)
    stream.close()
    over.set()
    threads[0].join(PATIENCE_S)
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
    assert begun.wait(PATIENCE_S)
    thread.join(PATIENCE_S)
    assert vars(thread)["run"] == begun.set
