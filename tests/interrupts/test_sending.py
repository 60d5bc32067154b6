"""Interrupts of a thread whose event loop cancels its task."""

from __future__ import annotations

import subprocess
import sys

INTERRUPTED = """
import asyncio, threading, time
from mpkernel.interrupts.sending import Interrupts, install_waits

install_waits()
interrupts, begun, leaving = Interrupts(), threading.Event(), threading.Event()

class Slow:
    def __enter__(self):
        pass

    def __exit__(self, *error):  # no exception is raised in one
        leaving.set()
        time.sleep(0.2)

async def cell():
    try:
        begun.set()
        with Slow():
            pass
        await asyncio.sleep(60)
    finally:
        await asyncio.sleep(0.6)
        print("ended in order")

def cancel():
    reached = threading.Event()
    loop.call_soon_threadsafe(lambda: (reached.set(), task.cancel()))
    return reached.is_set

def interrupt():
    begun.wait()
    leaving.wait()
    WAY

threading.Thread(target=interrupt).start()
loop = asyncio.new_event_loop()
task = loop.create_task(cell())
try:
    with interrupts.guarded(), interrupts.cancelled_by(cancel):
        loop.run_until_complete(task)
except asyncio.CancelledError:
    print("cancelled")
"""


def outcome_of(way: str) -> str:
    script = INTERRUPTED.replace("WAY", way)
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=240
    )
    return result.stdout + result.stderr


def test_a_task_that_was_cancelled_late_ends_in_order() -> None:
    """The loop learns of the cancellation when an exception is tried already."""
    closed = "for _ in range(4): interrupts.end(); time.sleep(0.04)"
    assert outcome_of(closed) == "ended in order\ncancelled\n"
    assert outcome_of("interrupts.interrupt()") == "ended in order\ncancelled\n"


def test_a_loop_that_sleeps_is_woken_and_gets_no_exception() -> None:
    """Even where it has not come to its task before an exception is tried."""
    script = "time.sleep(0.4); " + "interrupts.end(); " * 20
    assert outcome_of(script) == "ended in order\ncancelled\n"
