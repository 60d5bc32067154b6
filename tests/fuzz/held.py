"""A host that sends what a test says: a real process, whose ends of the Pipes are kept here."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import subprocess
import termios
from multiprocessing.connection import Connection

from mpkernel.server.launching.local_process import LocalProcess
from mpkernel.server.supervision.strays import new_mark
from mpkernel.wire.frames import Channel, FrameDecoder
from mpkernel.wire.messages import decode_down
from shm.names import tag_of

__all__ = ["HeldHost", "unread_bytes"]


def unread_bytes(fd: int) -> int:
    """How many bytes can be read from this descriptor now."""
    return int.from_bytes(fcntl.ioctl(fd, termios.FIONREAD, bytes(4)), "little")


class HeldHost:
    """The process, which sleeps, and the host's ends of its Pipes.

    Attributes:
        process: for the server.
        ends: the host's, the control Pipe's and the stream Pipe's.
        prefix: how the names of its blocks begin.
    """

    def __init__(self) -> None:
        control, host_control = multiprocessing.Pipe(duplex=True)
        stream, host_stream = multiprocessing.Pipe(duplex=True)
        read_ends, write_ends = zip(*(os.pipe() for _ in range(4)), strict=True)
        sleeper = subprocess.Popen(
            ["sleep", "600"],
            stdin=subprocess.DEVNULL,
            stdout=write_ends[0],
            stderr=write_ends[1],
            pass_fds=write_ends[2:],
            start_new_session=True,
        )
        for fd in write_ends:
            os.close(fd)
        self.process = LocalProcess(
            sleeper, "sleep", None, control, stream, list(read_ends), new_mark()
        )
        self.ends = (host_control, host_stream)
        self.prefix = tag_of(self.process.pid).prefix
        self._server_ends = (control, stream)
        self._decoder = FrameDecoder()
        for end in self.ends:
            os.set_blocking(end.fileno(), False)

    def say(self, pipe: int, data: memoryview) -> int:
        """Write what the Pipe takes; returns how much that was."""
        try:
            return os.write(self.ends[pipe].fileno(), data)
        except BlockingIOError:
            return 0
        except ConnectionError:  # the server has closed its end
            return len(data)

    def unread_bytes(self, pipe: int) -> int:
        """What the server has not read of what was said."""
        end: Connection = self._server_ends[pipe]
        return 0 if end.closed else unread_bytes(end.fileno())

    def listen(self) -> None:
        """Read what the server said. All of it makes sense, or this raises `ProtocolError`."""
        while True:
            try:
                count = os.readv(self.ends[0].fileno(), [self._decoder.get_buffer()])
            except (BlockingIOError, ConnectionError):
                return
            if not count:
                return
            for frame in self._decoder.received(count):
                if frame.channel is Channel.MANAGEMENT:
                    decode_down(frame.payload)

    def close(self) -> None:
        """Let go of the Pipes, and of a process that no server has."""
        for end in self.ends:
            end.close()
        self.process.close()
