"""`Warming`: what a host imports while it has no app yet.

The imports run on a thread of their own, which ends afterwards, for two reasons. First, in every
other host, imports run on a kernel's thread and not on the main thread. Second, they run at a low
priority. On Linux each thread has a priority of its own, and raising it again needs a privilege. So
the main thread, from which all kernels inherit their priority, must not lower its own. The threads
that a library starts when it is imported (the pool of a BLAS) inherit the low priority. If such a
thread is left, the process is of no use, and the server is told.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
import time
from collections.abc import Callable

from mpkernel.late_logger import late_logger
from mpkernel.quick_imports import no_garbage_collection
from mpkernel.wire.messages import Warm, Warmed

__all__ = ["Warming"]

logger = late_logger(__name__)

# With this value, the imports get a tenth of a processor that other processes want, too. With the
# lowest priority, 19, they would get a sixtieth, and on a busy machine no standby would be ready in
# time.
_LOW_PRIORITY = 10

_OWN_THREADS = 2  # the main thread, and the thread that imports


class Warming(threading.Thread):
    """Imports the modules that the server asked for, and answers.

    Args:
        warm: what the server asked for.
        answer: sends the answer; called on this thread, as its last step.
    """

    def __init__(self, warm: Warm, answer: Callable[[Warmed], None]) -> None:
        super().__init__(name="warming", daemon=True)
        self._warm = warm
        self._answer = answer

    def run(self) -> None:
        priority = _priority_of(os.getpid())
        if self._warm.at_low_priority and sys.platform == "linux":
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOW_PRIORITY)
        sys.argv = [""]  # so that libraries see no arguments, not those of the launch
        before = set(sys.modules)
        with no_garbage_collection():
            for name in self._warm.modules:
                _import(name)
        names = {module.partition(".")[0] for module in sys.modules.keys() - before}
        self._answer(
            Warmed(sorted(names), slowed=_any_slower_than(priority), threaded=_has_more_threads())
        )

    def wait_gone(self) -> None:
        """Wait until the thread has ended. This takes microseconds once the thread has answered.
        `join` alone returns while the operating system still has the thread, with its low
        priority."""
        self.join()
        while os.path.exists(f"/proc/self/task/{self.native_id}"):
            time.sleep(0.0005)


def _import(name: str) -> None:
    try:
        importlib.import_module(name)
    except (Exception, SystemExit) as error:  # noqa: BLE001 (an app that needs it gets the error itself)
        logger.warning("a standby could not import %s: %r", name, error)


def _any_slower_than(priority: int) -> bool:
    """Whether any thread but the calling one has a lower priority than this."""
    if sys.platform != "linux":
        return False
    others = {int(name) for name in os.listdir("/proc/self/task")} - {threading.get_native_id()}
    return any(_priority_of(thread) > priority for thread in others)


def _has_more_threads() -> bool:
    """Whether there are threads beside the main thread and the calling one."""
    if sys.platform != "linux":
        return threading.active_count() > _OWN_THREADS
    return len(os.listdir("/proc/self/task")) > _OWN_THREADS


def _priority_of(thread: int) -> int:
    try:
        return os.getpriority(os.PRIO_PROCESS, thread)
    except ProcessLookupError:  # it has ended meanwhile
        return -20
