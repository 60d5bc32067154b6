"""A terminal for a command, as a user has one: a test types into it, and reads what is shown."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import termios
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

from waiting import PATIENCE_S


class Terminal:
    """A command in a terminal of its own, which it controls.

    Args:
        command: what is run.
        cwd: where.
        size: columns and lines; None: the terminal does not know.
        color: whether the user wants colors.

    Attributes:
        shown: all that came until now, with plain line ends.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        cwd: Path,
        *,
        size: tuple[int, int] | None = None,
        color: bool = False,
    ) -> None:
        self.shown = ""
        self._master, slave = pty.openpty()
        if size is not None:
            self.resize(*size)
        # Its own session's leader, with the terminal as that session's.
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *map(str, command)],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=cwd,
            env={
                **_without_size(),
                "TERM": "xterm",
                "NO_COLOR": "" if color else "1",
                "HISTFILE": "",  # a shell leaves this user's history as it is
            },
        )
        os.close(slave)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)

    def wait_for(self, text: str) -> None:
        """Wait until this was shown."""
        deadline = time.monotonic() + PATIENCE_S
        while text not in self.shown:
            if not self._read(deadline - time.monotonic()):
                raise AssertionError(f"{text!r} was not shown, but {self.shown!r}")

    def wait_for_screen(self, holds: Callable[[str], bool]) -> None:
        """Wait until this holds for a screen that is drawn from now on, as a whole."""
        self.shown = ""
        deadline = time.monotonic() + PATIENCE_S
        while not any(map(holds, self.shown.split("\x1b[H")[1:-1])):
            if not self._read(deadline - time.monotonic()):
                last = self.shown.rpartition("\x1b[H")[2]
                raise AssertionError(f"no such screen was shown; the last one: {last!r}")

    def resize(self, columns: int, lines: int) -> None:
        """Give it another size; the command is told."""
        termios.tcsetwinsize(self._master, (lines, columns))

    def type(self, text: str) -> None:
        """Type; "\\x03" is Ctrl-C."""
        os.write(self._master, text.encode())

    def end(self) -> int:
        """Wait for the command's end. Returns its exit code."""
        deadline = time.monotonic() + PATIENCE_S
        while self._read(deadline - time.monotonic()):
            pass
        return self.process.wait(PATIENCE_S)

    def _read(self, timeout_s: float) -> bool:
        ready, _, _ = select.select([self._master], [], [], max(0.0, timeout_s))
        if not ready:
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError:  # nobody has the other end any more
            return False
        self.shown += data.decode().replace("\r\n", "\n")
        return bool(data)


def _without_size() -> dict[str, str]:
    """The environment, but for what says how large a terminal is."""
    return {name: text for name, text in os.environ.items() if name not in ("COLUMNS", "LINES")}
