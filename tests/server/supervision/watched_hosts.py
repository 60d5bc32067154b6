"""A process that a watchdog watches, for tests of the watchdog."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

from server.processes import Program

from mpkernel.server.supervision.usage import Usage
from mpkernel.server.supervision.verdicts import HostWatch, Verdict

THREAD = "mpkernel-watchdog"

ANSWER = "for line in sys.stdin: say(int(line))\n"


class Host:
    """A process that gets the numbers of pings as lines, and answers with the same lines."""

    def __init__(self, code: str) -> None:
        self.answers_pings = True
        self.pinged: list[int] = []
        self.verdicts: asyncio.Queue[Verdict] = asyncio.Queue()
        self.answered = asyncio.Event()
        self.program = Program(code)
        self.watch: HostWatch | None = None
        self._read = b""
        asyncio.get_running_loop().add_reader(self.program.stdout_fd, self._on_line)

    def ping(self, number: int) -> None:
        self.pinged.append(number)
        self.program.say(str(number))

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self.program.stdout_fd)
        self.program.close()

    def _on_line(self) -> None:
        self._read += os.read(self.program.stdout_fd, 4096)
        *lines, self._read = self._read.split(b"\n")
        for line in lines:
            if self.watch is not None:
                self.watch.ponged(int(line))
                self.answered.set()


Watch = Callable[[str], Host]


def tasks_of_watchdogs() -> set[asyncio.Task[Any]]:
    return {task for task in asyncio.all_tasks() if "watchdog" in task.get_name()}


def history_of(host: Host) -> tuple[Usage, ...]:
    assert host.watch is not None
    return host.watch.history
