"""`WarmProcess`: one host without an app, from its launch until it is given away or gone.

How many of them there are, and who gets one, is `standby`'s.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from multiprocessing import spawn
from typing import NamedTuple, Self

from mpkernel.errors import ProtocolError
from mpkernel.logs import get_logger
from mpkernel.server.environments import environment_for
from mpkernel.server.interpreter import never_ready
from mpkernel.server.link import Link
from mpkernel.server.process import HostProcess
from mpkernel.settings import Settings
from mpkernel.wire.frames import MAX_FRAME_BYTES, Channel, Frame
from mpkernel.wire.messages import Warm, Warmed, decode_up, encode

__all__ = ["Inherited", "WarmProcess"]

logger = get_logger(__name__)

_LAST_WORDS_BYTES = 4096


class Inherited(NamedTuple):
    """What a process has from its server: the folder, as device and inode, as much of the
    environment as the settings let through, where imports look, and the Python to launch."""

    directory: tuple[int, int] | None
    environment: dict[str, str]
    import_path: list[str]
    python: str | bytes | None

    @classmethod
    def now(cls, settings: Settings) -> Self:
        """What one that is launched now would have."""
        try:
            found = os.stat(".")
        except OSError:
            directory = None
        else:
            directory = found.st_dev, found.st_ino
        return cls(directory, environment_for(settings), list(sys.path), spawn.get_executable())


class WarmProcess:
    """A host without an app.

    Args:
        warm: what it shall import.
        inherited: what it shall have from the server.
        on_warmed: called when it is ready.
        on_death: called with how it ended, and its last words, when it is gone and reaped.

    Attributes:
        inherited: as given.
        is_ready: whether it has imported it.
        names: the top-level modules that this brought.
        slowed: whether it has threads that are too slow for an app.
        over: set when it is gone and reaped.

    Raises:
        HostStartError: the operating system refused it.
    """

    def __init__(
        self,
        warm: Warm,
        inherited: Inherited,
        on_warmed: Callable[[WarmProcess], None],
        on_death: Callable[[WarmProcess, str], None],
    ) -> None:
        self.inherited = inherited
        self.is_ready = False
        self.names: list[str] = []
        self.slowed = False
        self.over = asyncio.Event()
        self._on_warmed = on_warmed
        self._on_end = on_death
        self._loop = asyncio.get_running_loop()
        self._process = HostProcess.launch("mpkernel standby", env=inherited.environment)
        payload = encode(warm)
        self._link = Link(
            "a standby",
            self._process.control,
            self._process.stream,
            self._loop,
            on_frames=self._on_frames,
            on_error=self._on_protocol_error,
            backlog_bytes=len(payload),
            max_frame_bytes=MAX_FRAME_BYTES,
        )
        self._loop.add_reader(self._process.death_fd, self._on_death)
        self._link.send(Channel.MANAGEMENT, 0, payload)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def can_be_taken(self) -> bool:
        """Whether it is ready, and has not died a moment ago."""
        return self.is_ready and self._process.status() is None

    def release(self) -> HostProcess:
        """Give the process away. Both Pipes are at the end of a frame: nothing follows `Warmed`."""
        self._link.close()
        self._loop.remove_reader(self._process.death_fd)
        return self._process

    def kill(self) -> None:
        """Kill it; `on_death` follows."""
        self._process.kill()

    def kill_and_reap(self) -> None:
        """Kill it and wait for it, without a loop. Idempotent."""
        if self.over.is_set():
            return
        self._process.close()
        self._process.close_console()
        self.over.set()

    def _on_frames(self, frames: list[Frame]) -> None:
        for frame in frames:
            message = decode_up(frame.payload)
            if not isinstance(message, Warmed) or self.is_ready:
                raise ProtocolError(f"a standby said {type(message).__name__}")
            self.is_ready = True
            self.names = message.names
            self.slowed = message.slowed
            self._on_warmed(self)

    def _on_protocol_error(self, error: ProtocolError) -> None:
        logger.warning("standby ended for what it sent: %s", error, pid=self.pid)
        self.kill()

    def _on_death(self) -> None:
        status = self._process.status()
        if status is None or self.over.is_set():
            return  # a sentinel may close before its process is gone
        self._loop.remove_reader(self._process.death_fd)
        self._link.close()
        self._process.close()
        words = _rest_of(self._process.stderr) + _rest_of(self._process.faults)
        self._process.close_console()
        self.over.set()
        error = (
            never_ready("a standby", status, self._process.python) if not self.is_ready else None
        )
        what = str(status) if error is None else str(error)
        self._on_end(self, f"{what}\n{words}".rstrip())


def _rest_of(pipe: int) -> str:
    os.set_blocking(pipe, False)
    try:
        return os.read(pipe, _LAST_WORDS_BYTES).decode(errors="backslashreplace")
    except BlockingIOError:  # a child of its own holds the other end, and has written nothing
        return ""
