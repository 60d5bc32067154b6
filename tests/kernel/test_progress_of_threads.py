"""Progress of one bar from many threads, after a fork, and from its own timer."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest
from kernel.finders import found_by
from kernel.recorded_progress import ProgressPlace, assert_done_once_and_last, of
from waiting import PATIENCE_S

from mpkernel.kernel.messages import Progress
from mpkernel.kernel.progress import ProgressBar, progress_bar


@pytest.fixture
def place() -> Iterator[ProgressPlace]:
    place = ProgressPlace()
    with found_by(lambda: place):
        yield place


def test_a_bar_that_ends_leaves_no_timer_that_waits(place: ProgressPlace) -> None:
    with progress_bar(total=100) as bar:
        bar.update()
        waiting = [
            thread
            for thread in threading.enumerate()
            if isinstance(thread, threading.Timer) and not thread.finished.is_set()
        ]
    assert waiting
    assert all(timer.finished.is_set() for timer in waiting)
    assert_done_once_and_last(place)


def test_updates_of_many_threads_all_count(place: ProgressPlace) -> None:
    def work(bar: ProgressBar[int]) -> None:
        for _ in range(2000):
            bar.update()

    with progress_bar(total=16_000) as bar:
        threads = [threading.Thread(target=work, args=(bar,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_S)
    assert place.sent[-1].current == 16_000
    assert of(place, "current") == sorted(of(place, "current"))
    assert_done_once_and_last(place)


def test_threads_that_are_late_send_nothing_after_done(place: ProgressPlace) -> None:
    bar = progress_bar(total=10**9)
    running = threading.Barrier(5)
    stop = threading.Event()

    def work() -> None:
        running.wait(PATIENCE_S)
        while not stop.is_set():
            bar.update()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    with bar:
        running.wait(PATIENCE_S)
        place.wait_for(lambda message: message.current > 0)
    for _ in range(1000):
        bar.update(title="too late")
    stop.set()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert_done_once_and_last(place)


def test_a_server_that_is_gone_is_the_updates_error_and_silent_in_the_timer(
    place: ProgressPlace,
) -> None:
    lost = threading.Event()

    def lose(message: Progress) -> None:
        if threading.current_thread() is not threading.main_thread():
            lost.set()
        raise BrokenPipeError

    bar = progress_bar(total=10)
    bar.update()
    place.on_send = lose
    bar.update()
    assert lost.wait(PATIENCE_S)
    with pytest.raises(BrokenPipeError):
        bar.close()


def test_a_fork_in_the_middle_of_another_threads_update_can_go_on(place: ProgressPlace) -> None:
    sending, go_on = threading.Event(), threading.Event()
    parent = os.getpid()

    def hold(_: Progress) -> None:
        if os.getpid() == parent:
            sending.set()
            assert go_on.wait(PATIENCE_S)

    place.on_send = hold
    bar = progress_bar(total=10)
    thread = threading.Thread(target=bar.update)
    thread.start()
    assert sending.wait(PATIENCE_S)
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # pytest-timeout's own needs bytecode
        signal.alarm(PATIENCE_S)
        try:
            bar.update()
            bar.close()
            os._exit(place.sent[-1].current)
        finally:
            os._exit(255)
    _, status = os.waitpid(child, 0)
    go_on.set()
    thread.join(PATIENCE_S)
    bar.close()
    assert os.waitstatus_to_exitcode(status) == 2
    assert place.sent[-1].current == 1
