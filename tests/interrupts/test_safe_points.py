"""Where an exception from another thread is raised, and where it is delayed."""

from __future__ import annotations

import builtins
import dis
import importlib
import queue
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from threads_of_tests import thread_in
from waiting import PATIENCE_S, until

from mpkernel.interrupts.half_done import has_set_a_global, may_hold_a_lock
from mpkernel.interrupts.safe_points import is_ending, is_importing, throw


def test_a_thread_in_a_finally_block_of_an_interrupt_is_ending() -> None:
    def interrupted(go_on: threading.Event) -> None:
        try:
            try:
                raise KeyboardInterrupt
            finally:
                go_on.wait()
        except KeyboardInterrupt:
            pass

    def has_caught_another(go_on: threading.Event) -> None:
        try:
            raise ValueError
        except ValueError:
            go_on.wait()

    with thread_in(interrupted) as thread:
        until(lambda: is_ending(thread))
    with thread_in(has_caught_another) as thread:
        until(lambda: sys._current_exceptions().get(thread) not in (None, (None, None, None)))
        assert not is_ending(thread)


def test_no_exception_lands_in_a_thread_that_is_about_to_hold_a_condition() -> None:
    condition = threading.Condition()

    def enter(_: threading.Event) -> None:
        with condition:
            pass

    with condition:
        thread = threading.Thread(target=enter, args=(threading.Event(),))
        thread.start()
        ident = thread.ident
        assert ident is not None
        until(lambda: sys._current_frames()[ident].f_code.co_name == "__enter__")
        assert not throw(ident)
    thread.join()


def test_no_exception_lands_in_an_import_nor_in_a_wait_for_one(tmp_path: Path) -> None:
    (tmp_path / "slow_to_import.py").write_text(
        "import builtins\nbuiltins._begun.set()\nbuiltins._go_on.acquire()\n"
    )
    begun, go_on = threading.Event(), threading.Semaphore(0)
    vars(builtins).update(_begun=begun, _go_on=go_on)
    sys.path.insert(0, str(tmp_path))

    def import_it(_: threading.Event) -> None:
        importlib.import_module("slow_to_import")

    try:
        with thread_in(import_it) as importing:
            assert begun.wait(PATIENCE_S)
            with thread_in(import_it) as waiting:
                until(lambda: is_importing(waiting))
                assert is_importing(importing)
                assert not throw(importing)
                assert not throw(waiting)
                go_on.release()
    finally:
        sys.path.remove(str(tmp_path))
        del sys.modules["slow_to_import"]


def test_an_exception_lands_in_a_loop_wherever_it_is() -> None:
    outcomes: list[BaseException] = []

    def spin(_: threading.Event) -> None:
        try:
            while True:
                pass
        except KeyboardInterrupt as error:
            outcomes.append(error)

    def for_ever() -> None:
        while True:  # its jump backwards is the last instruction of all
            pass

    def call(_: threading.Event) -> None:
        try:
            for_ever()
        except KeyboardInterrupt as error:
            outcomes.append(error)

    for _ in range(20):
        with thread_in(spin) as spinning:
            until(lambda: throw(spinning))
        with thread_in(call) as spinning:
            until(lambda: throw(spinning))
    assert len(outcomes) == 40


def here() -> None:
    """Marks the place that is asked about."""


def answers(function: Callable[..., object], *, calls_in_c: bool = False) -> list[bool]:
    """Whether the function may hold a lock, at each of its calls of `here`."""
    code = function.__code__
    instructions = list(dis.get_instructions(code))
    calls = [
        next(after.offset for after in instructions[index:] if after.opname == "CALL")
        for index, instruction in enumerate(instructions)
        if instruction.argval == "here"
    ]
    assert calls
    return [may_hold_a_lock(code, offset, calls_in_c=calls_in_c) for offset in calls]


def test_a_lock_may_be_held_between_two_calls_unless_it_is_released_whatever_happens() -> None:
    lock = threading.Lock()

    def between() -> None:
        here()
        lock.acquire()
        here()
        lock.release()
        here()

    def before_the_try() -> None:
        lock.acquire()
        here()
        try:
            here()
        finally:
            lock.release()
        while True:
            here()

    def in_the_finally() -> None:
        lock.acquire()
        try:
            print()
        finally:
            here()
            lock.release()

    def after_some_errors_only() -> None:
        lock.acquire()
        try:
            here()
        except ValueError:
            lock.release()
            raise
        lock.release()

    def after_all_errors() -> None:
        lock.acquire()
        try:
            with open("/dev/null"):
                try:
                    here()
                except ValueError:
                    pass
        except BaseException:
            lock.release()
            raise
        lock.release()

    def on_two_ways() -> None:
        lock.acquire()
        if lock.locked():
            here()
            lock.release()
            return
        here()
        lock.release()

    def for_who_calls_it() -> None:
        lock.acquire()
        here()

    def of_another_name() -> None:
        fcntl_like = cast(Any, lock)
        fcntl_like.lock()
        here()
        fcntl_like.unlock()

    def no_lock_at_all(release: str = "1.0") -> None:
        print(release)
        here()
        print(release)

    def by_with() -> None:
        with lock:
            here()

    assert answers(between) == [False, True, False]
    assert answers(before_the_try) == [True, False, False]
    assert answers(in_the_finally) == [True, True]
    assert answers(after_some_errors_only) == [True]
    assert answers(after_all_errors) == [False]
    assert answers(on_two_ways) == [True, True]
    assert answers(for_who_calls_it) == [True]
    assert answers(of_another_name) == [True]
    assert answers(no_lock_at_all) == [False]
    assert answers(by_with) == [False]


def test_a_call_that_acquires_has_the_lock_when_it_may_be_at_its_end() -> None:
    def acquiring() -> None:
        threading.Lock().acquire()
        threading.Lock().release()

    code = acquiring.__code__
    instructions = list(dis.get_instructions(code))
    acquire = next(i for i, found in enumerate(instructions) if found.argval == "acquire")
    call = next(found.offset for found in instructions[acquire:] if found.opname == "CALL")
    assert may_hold_a_lock(code, call, calls_in_c=True)
    assert not may_hold_a_lock(code, call, calls_in_c=False)


def test_what_a_module_does_once_is_half_done_when_its_first_global_is_set() -> None:
    names: dict[str, Any] = {}
    exec("def once():\n global done\n here()\n done = True\n here()", names)
    code = names["once"].__code__
    calls = [found.offset for found in dis.get_instructions(code) if found.opname == "CALL"]
    assert [has_set_a_global(code, offset) for offset in calls] == [False, True]


def test_whatever_a_thread_does_no_shared_lock_is_left_held() -> None:
    """Forty exceptions at random moments. (Raised without looking, one in some hundred leaves
    a lock held.)"""
    lock, rlock, condition = threading.Lock(), threading.RLock(), threading.Condition()
    shared: queue.Queue[int] = queue.Queue()
    moments = random.Random(14)

    def step() -> None:
        lock.acquire()
        sum(range(20))
        lock.release()
        with condition:
            condition.notify()
        rlock.acquire()
        try:
            sum(range(10))
        finally:
            rlock.release()
        shared.put(1)
        shared.get()

    def run(_: threading.Event) -> None:
        try:
            while True:
                step()
        except KeyboardInterrupt:
            pass

    for _ in range(40):
        with thread_in(run) as running:
            time.sleep(moments.uniform(0, 0.01))  # a random moment is what is wanted
            until(lambda: throw(running))
        for held in (lock, rlock, condition, shared.mutex):
            assert held.acquire(timeout=20)
            held.release()


LOOKING = """
import gc, os, threading
from mpkernel.interrupts.safe_points import is_ending, is_importing, throw

def leave_garbage():
    while True:
        cycle = [threading.local()]
        cycle.append(cycle)
        deeper(3, cycle)

def deeper(depth, cycle):  # for each call that is seen, the interpreter makes a frame
    return deeper(depth - 1, cycle) if depth else [cycle]

gc.set_threshold(1)
threads = [threading.Thread(target=leave_garbage, daemon=True) for _ in range(2)]
for thread in threads:
    thread.start()
for _ in range(100_000):
    is_importing(threads[0].ident)
    is_ending(threads[0].ident)
for thread in threads:
    while not throw(thread.ident):
        pass
assert gc.isenabled()
print("went on", flush=True)
os._exit(0)
"""


def test_a_collection_of_garbage_while_threads_are_looked_at_stops_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOOKING], capture_output=True, text=True, timeout=240
    )
    assert done.stdout == "went on\n"
