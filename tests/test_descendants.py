"""What finds the processes that a test has left finds all of them, and no other."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
from descendants import descendants, still_alive

SHELL = ("sh", "-c", "sleep 60 & echo begun; wait")


@contextmanager
def shell() -> Iterator[set[psutil.Process]]:
    """A shell and a process that it has started."""
    with subprocess.Popen(SHELL, stdout=subprocess.PIPE) as started:
        assert started.stdout is not None
        started.stdout.readline()
        process = psutil.Process(started.pid)
        both = {process, *process.children()}
        try:
            yield both
        finally:
            for one in both:
                one.kill()


def test_children_and_theirs_are_found_whichever_thread_started_them() -> None:
    found: list[set[psutil.Process]] = []

    def look() -> None:
        with shell() as of_thread:
            found.extend((of_thread, set(descendants())))

    before = set(descendants())
    with shell() as of_main:
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
    of_thread, seen = found
    assert len(of_main | of_thread) == 4
    assert seen - before == of_main | of_thread


def test_what_has_ended_and_was_reaped_is_not_found() -> None:
    with shell() as ended:
        pass
    assert not ended & set(descendants())


def test_who_started_a_process_has_its_exit_status_when_another_has_waited_for_its_end() -> None:
    child = multiprocessing.get_context("spawn").Process(target=sys.exit, args=(3,))
    child.start()
    assert child.pid is not None
    assert still_alive([psutil.Process(child.pid)], patience_s=30) == []
    assert child not in multiprocessing.active_children()
    assert child.exitcode == 3


def test_a_process_that_goes_on_is_still_alive() -> None:
    with shell() as both:
        assert set(still_alive(both, patience_s=0)) == both
