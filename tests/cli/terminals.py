"""A terminal for a command, as a user has one: a test types into it, and reads what is shown."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

_PATIENCE_S = 30.0


class Terminal:
    """A command in a terminal of its own, which it controls.

    Attributes:
        shown: all that came until now, with plain line ends.
    """

    def __init__(self, command: Sequence[str | Path], cwd: Path) -> None:
        self.shown = ""
        self._master, slave = pty.openpty()
        # Its own session's leader, with the terminal as that session's.
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *map(str, command)],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=cwd,
            env={**os.environ, "TERM": "xterm", "NO_COLOR": "1"},
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
        deadline = time.monotonic() + _PATIENCE_S
        while text not in self.shown:
            if not self._read(deadline - time.monotonic()):
                raise AssertionError(f"{text!r} was not shown, but {self.shown!r}")

    def type(self, text: str) -> None:
        """Type; "\\x03" is Ctrl-C."""
        os.write(self._master, text.encode())

    def end(self) -> int:
        """Wait for the command's end. Returns its exit code."""
        deadline = time.monotonic() + _PATIENCE_S
        while self._read(deadline - time.monotonic()):
            pass
        return self.process.wait(_PATIENCE_S)

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
