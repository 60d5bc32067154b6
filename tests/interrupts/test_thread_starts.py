"""An interrupt of a thread that starts others is raised in that thread."""

from __future__ import annotations

import subprocess
import sys

ROUNDS = 200
STARTS_THREADS = f"""
import os, sys, threading
from mpkernel.interrupts.sending import Interrupts, install_waits

install_waits()
interrupts, begun = Interrupts(), threading.Semaphore(0)
threading.excepthook = sys.unraisablehook = lambda error: print("elsewhere:", error.exc_type)

def starts_threads():
    for _ in range({ROUNDS}):
        try:
            with interrupts.guarded():
                begun.release()
                while True:
                    threading.Thread(target=int).start()
        except KeyboardInterrupt:
            pass
    print("all were raised")

starter = threading.Thread(target=starts_threads, daemon=True)
starter.start()
for number in range({ROUNDS}):
    if not begun.acquire(timeout=20):
        print("number", number, "was not raised", flush=True)
        os._exit(1)
    interrupts.interrupt()
starter.join()
"""


def test_no_interrupt_is_raised_in_a_thread_that_is_being_started() -> None:
    result = subprocess.run(
        [sys.executable, "-c", STARTS_THREADS], capture_output=True, text=True, timeout=240
    )
    assert (result.stdout, result.stderr) == ("all were raised\n", "")
