"""`HostConsole`: sends a host what it wrote to its descriptors 1 and 2, for its sessions.

    os.write(1, …), printf, a subprocess ══ pipe ══▶ the relay's thread ─▶ the server's log
    the host, which knows what it ran ◀══ Link ══ HostConsole ◀──┘

The server reads that text, because a thread of the host that read it could be held up by user code.
But only the host knows which session ran. A host that wants the text asks for it (`WantConsole`).
If the host does not take it, the text is in the server's log only: nothing waits here.
"""

from __future__ import annotations

import logging
import threading
from collections import deque

from mpkernel.server.links.console_source import StreamName
from mpkernel.server.links.link import Link
from mpkernel.wire.frames import Channel
from mpkernel.wire.messages import ConsoleText, encode
from mpkernel.wire.texts import pieces

__all__ = ["HostConsole"]

logger = logging.getLogger(__name__)

_BACKLOG_BYTES = 1024 * 1024
_EARLY_CHARS = 64 * 1024
_EARLY_TEXTS = 100
_CUT = "\n[mpkernel: the app is behind; what is missing here is in the server's log]\n"


class HostConsole:
    """Sends one process the text that it has written. For any thread.

    Args:
        name: the app's name, for logs.
        link: the process's Pipes.
    """

    def __init__(self, name: str, link: Link) -> None:
        self._name = name
        self._link = link
        self._lock = threading.Lock()  # guards all below
        self._early: deque[ConsoleText] = deque()
        self._early_chars = 0
        self._wanted = False
        self._is_cut = False
        self._closed = False

    def want(self) -> None:
        """The host asks for its text. It also gets the last text that it wrote before: that may
        have been read before the request arrived."""
        with self._lock:
            self._wanted = True
            early, self._early = self._early, deque()
            for text in early:
                self._send(text)

    def on_text(self, stream: StreamName, text: str, read_at_s: float) -> None:
        """The host wrote this text, which was read at this `time.monotonic()`."""
        with self._lock:
            for piece in pieces(text):
                message = ConsoleText(stream, piece, read_at_s)
                if self._wanted:
                    self._send_bounded(message)
                else:
                    self._keep(message)

    def _keep(self, message: ConsoleText) -> None:
        self._early.append(message)
        self._early_chars += len(message.text)
        while self._early_chars > _EARLY_CHARS or len(self._early) > _EARLY_TEXTS:
            self._early_chars -= len(self._early.popleft().text)

    def _send_bounded(self, message: ConsoleText) -> None:
        backlog_bytes = self._link.backlog_bytes
        if backlog_bytes <= (0 if self._is_cut else _BACKLOG_BYTES):
            self._is_cut = False
            self._send(message)
        elif not self._is_cut:
            self._is_cut = True
            logger.warning(
                "%s does not take its console's text, %d bytes wait for it: the rest is in this"
                " log only",
                self._name,
                backlog_bytes,
            )
            self._send(ConsoleText(message.stream, _CUT, message.read_at_s))

    def _send(self, message: ConsoleText) -> None:
        if self._closed:
            return
        try:
            self._link.send(Channel.MANAGEMENT, 0, encode(message))
        except RuntimeError as error:  # the loop is closed, and the host about to end
            self._closed = True
            logger.debug("text of %s kept from it: %s", self._name, error)
