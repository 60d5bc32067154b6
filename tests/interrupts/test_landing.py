"""Where an exception from another thread is raised, if the thread had given up the GIL."""

from __future__ import annotations

import dis
import sys
import threading
from types import CodeType, TracebackType

import pytest
from waiting import PATIENCE_S, until

from mpkernel.interrupts import landing
from mpkernel.interrupts.landing import LANDS_LATE, at_any_place, at_next_step, next_steps
from mpkernel.interrupts.safe_points import _throw_if_still_at, throw


def instructions(code: CodeType) -> dict[int, str]:
    return {instruction.offset: instruction.opname for instruction in dis.get_instructions(code)}


def test_a_thread_that_waits_for_the_gil_goes_no_further_than_one_step() -> None:
    """In `steps` hardly any time passes outside of calls, and each call is a place where it may
    have given up the GIL."""
    ends: list[tuple[CodeType, int]] = []

    def steps() -> None:
        while True:
            sum(range(20))
            max(range(20))

    def run() -> None:
        try:
            steps()
        except KeyboardInterrupt as error:
            frames: TracebackType | None = error.__traceback__
            while frames is not None:
                if frames.tb_frame.f_code is steps.__code__:
                    ends.append((frames.tb_frame.f_code, frames.tb_lasti))
                frames = frames.tb_next

    for _ in range(30):
        thread = threading.Thread(target=run)
        thread.start()
        ident = thread.ident
        assert ident is not None
        seen = -1
        while not _throw_if_still_at(ident, frame := sys._current_frames()[ident], seen):
            seen = frame.f_lasti
            if frame.f_code is steps.__code__:
                at_next_step(ident, frame.f_code)
        thread.join()
        at_any_place(ident)
        assert ends.pop()[1] in (seen, *next_steps(steps.__code__, seen))


def test_the_next_step_is_where_a_jump_leads() -> None:
    def loop(numbers: list[int]) -> None:
        for number in numbers:
            print(number)

    code = loop.__code__
    names = instructions(code)
    for offset, name in names.items():
        following = [names[step] for step in next_steps(code, offset)]
        if name == "JUMP_BACKWARD":
            assert following == ["FOR_ITER"]
        elif name == "FOR_ITER":
            assert len(following) == 2
        elif name == "RETURN_VALUE":
            assert following == []
        else:
            assert len(following) <= 1


@pytest.mark.skipif(not LANDS_LATE, reason="this Python raises where the thread was seen")
def test_code_is_watched_until_its_thread_goes_on_in_it() -> None:
    begun, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    def spin() -> None:
        try:
            begun.set()
            while True:
                pass
        except KeyboardInterrupt:
            go_on.wait()
        ended.set()

    thread = threading.Thread(target=spin)
    thread.start()
    ident = thread.ident
    assert ident is not None
    assert begun.wait(PATIENCE_S)
    until(lambda: throw(ident))
    go_on.set()
    assert ended.wait(PATIENCE_S)
    assert ident not in landing._codes
    assert sys.monitoring.get_local_events(landing._tool, spin.__code__) == 0
    thread.join()


def test_a_lock_that_a_with_waits_for_is_released_after_an_exception() -> None:
    for _ in range(10):
        lock = threading.Lock()

        def enter(lock: threading.Lock = lock) -> None:
            try:
                with lock:
                    while True:
                        pass
            except KeyboardInterrupt:
                pass

        with lock:
            thread = threading.Thread(target=enter)
            thread.start()
            ident = thread.ident
            assert ident is not None
            until(lambda ident=ident: sys._current_frames()[ident].f_code.co_name == "enter")
            was_thrown = throw(ident)
        if not was_thrown:
            until(lambda ident=ident: throw(ident))
        thread.join()
        assert lock.acquire(timeout=PATIENCE_S)
