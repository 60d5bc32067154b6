"""Plain Python programs as processes, for tests of what is seen of processes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys

import psutil

_PREAMBLE = """
import os, subprocess, sys, threading, time

def say(*words):
    print(*words, flush=True)

def hear():
    return sys.stdin.readline().strip()

def stay():
    threading.Event().wait()

def run(code, **options):
    return subprocess.Popen([sys.executable, "-c", os.environ["PREAMBLE"] + code], **options)
"""


class Program:
    """A Python program that leads a process session of its own, as an app host does.

    In it stand `say`, to print a line, `hear`, to wait for one, `stay`, to do nothing for ever, and
    `run`, to start another such program, which shares its input and output.
    """

    def __init__(self, code: str) -> None:
        self._popen = subprocess.Popen(
            [sys.executable, "-c", _PREAMBLE + code],
            env={**os.environ, "PREAMBLE": _PREAMBLE},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self._strays: set[psutil.Process] = set()

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def stdout_fd(self) -> int:
        assert self._popen.stdout is not None
        return self._popen.stdout.fileno()

    def hear(self) -> list[str]:
        """Wait for the next line of its, or its children's, output; give its words."""
        assert self._popen.stdout is not None
        line = self._popen.stdout.readline()
        assert line, "the program has ended"
        self._strays.update(psutil.Process(self.pid).children(recursive=True))
        return line.decode().split()

    def say(self, line: str = "") -> None:
        """Have `hear` return in the program."""
        assert self._popen.stdin is not None
        self._popen.stdin.write(f"{line}\n".encode())
        self._popen.stdin.flush()

    def stop(self) -> None:
        """Send SIGSTOP to the program, and wait until it is stopped."""
        os.kill(self.pid, signal.SIGSTOP)
        os.waitpid(self.pid, os.WUNTRACED)

    def kill(self) -> None:
        """Send SIGKILL to the program, and wait until it has ended. It is not reaped."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)

    def close(self) -> None:
        """End the program and all that it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        for stray in self._strays:
            with contextlib.suppress(psutil.NoSuchProcess):
                stray.kill()
        with self._popen:
            pass
