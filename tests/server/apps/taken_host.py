"""What an attack has in its hands: its process's Pipes, and frames that it can write to them."""

from __future__ import annotations

import os
import struct
import threading

from mpkernel.host.kernel import hosted_half
from mpkernel.wire.messages import encode

MANAGEMENT, CONTROL, STREAM = 0, 1, 5


class TakenHost:
    """The process's Pipes, and the session's number."""

    def __init__(self, kernel, dispatcher):
        self.kernel = kernel
        self.number = hosted_half(kernel).number
        self.dispatcher = dispatcher
        self.control_fd = dispatcher._control_fd
        self.stream_fd = dispatcher._stream_fd

    def raw(self, data, fd=None):
        fd = self.stream_fd if fd is None else fd
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]

    def say(self, message, session=None):
        self.raw(management(message, self.number if session is None else session))

    def flood(self, data, fd=None):
        """Write these frames for ever, many in one write."""
        many = data * max(1, 65536 // len(data))
        while True:
            self.raw(many, fd)

    def stop_dispatcher(self):
        """Stop the host from reading the control Pipe."""
        self.dispatcher._read = threading.Event().wait


def frame(channel, session, payload=b"", *, length=None):
    body = len(payload) + 5 if length is None else length
    return struct.pack("!iBI", body, channel, session) + payload


def management(message, session):
    return frame(MANAGEMENT, session, encode(message))
