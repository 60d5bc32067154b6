"""multiprocessing's resource tracker, in a process session of its own.

The tracker is a process that removes the shared memory which a dead process left. The stock tracker
is in the process group of the process that it serves. The group of a dead host is killed, the
tracker would be killed with it, and nothing would remove the memory. Here it leads a process
session of its own. It is started when it is first needed, as the stock one is, and ends by itself
when the last holder of its pipe is gone.

A host that ends in order ends its tracker itself, and takes its exit status: the tracker's next
parent may never do it. The first process of a container often does not.

It prints no warning about what it removes. Otherwise all that a dead host had would be called a
leak, among the last lines of a process that died for another reason.
"""

from __future__ import annotations

import os
import signal
import subprocess
from multiprocessing import resource_tracker, spawn, util
from typing import Any, ClassVar

__all__ = ["detach_resource_tracker", "end_resource_tracker"]

_SILENCE = ("-W", "ignore::UserWarning:multiprocessing.resource_tracker")


def detach_resource_tracker() -> None:
    """Have this process's resource tracker, which must not run yet, start in its own session."""
    _DetachedTracker.python = os.fsdecode(spawn.get_executable())
    # All users hold bound methods of the one tracker object, so only its class can be changed.
    resource_tracker._resource_tracker.__class__ = _DetachedTracker


def end_resource_tracker() -> None:
    """If the tracker runs, have it remove what is left, and wait for its end. What this process
    would send to it from now on is dropped."""
    tracker: Any = resource_tracker._resource_tracker
    tracker.ended = True
    try:
        tracker._stop()
    except ChildProcessError:  # user code has waited for any child
        return


class _DetachedTracker(resource_tracker.ResourceTracker):
    python: ClassVar[str]  # kept now: user code may later set another one for its own processes
    ended = False

    def getfd(self) -> int | None:
        self._start_detached()
        return super().getfd()

    def _send(self, *message: Any) -> None:
        if self.ended:
            return
        self._start_detached()
        super()._send(*message)  # type: ignore[misc]

    def _start_detached(self) -> None:
        with self._lock:  # type: ignore[attr-defined]
            if self._fd is not None:  # type: ignore[has-type]
                return
            reads, writes = os.pipe()
            ignored = {signal.SIGINT, signal.SIGTERM}
            # The child inherits the mask: no signal may reach it before it ignores them itself.
            signal.pthread_sigmask(signal.SIG_BLOCK, ignored)
            try:
                command = f"from multiprocessing.resource_tracker import main; main({reads})"
                child = subprocess.Popen(
                    [
                        self.python,
                        *util._args_from_interpreter_flags(),  # type: ignore[attr-defined]
                        *_SILENCE,
                        "-c",
                        command,
                    ],
                    stdin=subprocess.DEVNULL,
                    pass_fds=(reads,),
                    start_new_session=True,
                )
            except BaseException:
                os.close(writes)
                raise
            finally:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, ignored)
                os.close(reads)
            self._fd, self._pid = writes, child.pid
            child.returncode = 0  # Popen forgets it: it outlives us, or ResourceTracker reaps it
