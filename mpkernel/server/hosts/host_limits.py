"""`HostLimits`: notices when a host breaks the rules of the protocol, which ends the host.

    bytes for clients that do not take them  ─ more than twice what windows allow ──┐
    files freed, the answers never read      ─ more than 100,000 ───────────────────┼▶ ProtocolError
    places for files that are not its own    ─ more than 100 ───────────────────────┤
    ready, or an answer to no ping           ─ once too often ──────────────────────┘

A host keeps its sessions within their windows by itself; these limits are for a host that does not.
Bytes are counted once for each read and each credit, not for each frame, so that a single message
costs nothing more. On the loop's thread, except `taken`.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from mpkernel.errors import ProtocolError
from mpkernel.server.hosts.session_table import SessionTable
from mpkernel.server.links.link import Link
from mpkernel.wire.frames import HEADER_BYTES, MESSAGE_COST_BYTES, Channel, Frame
from mpkernel.wire.windows import GUARANTEED_BYTES, credit_due, share_of

__all__ = ["HostLimits"]

_MOST_UNTAKEN_KEYS = 100_000
_MOST_FORGED_PLACES = 100
_MOST_LOGGED_REFUSALS = 100


class HostLimits:
    """The limits of one host. Each method raises `ProtocolError` if the host is to be ended.

    Args:
        link: its Pipes.
        table: its sessions.
        window_bytes, host_window_bytes: how many bytes of one session, and of all sessions, it may
            have on its way.
        max_frame_bytes: the largest message, which may be larger than a window.

    Attributes:
        frame_count: how many whole frames came.
        credit_bytes: when a session's client has taken so many bytes, the credit is sent at the
            latest. The smaller the share of the host's window is that each session has now, the
            smaller is this number.
    """

    def __init__(
        self,
        link: Link,
        table: SessionTable,
        *,
        window_bytes: int,
        host_window_bytes: int,
        max_frame_bytes: int,
    ) -> None:
        self.frame_count = 0
        self._full_credit_bytes = self.credit_bytes = credit_due(
            share_of(window_bytes, host_window_bytes, 0)
        )
        self._negligible_bytes = host_window_bytes // 256
        self._link = link
        self._table = table
        self._window_bytes = window_bytes
        self._host_window_bytes = host_window_bytes
        # The limit is twice the window: the bytes of closed sessions count until their kernels have
        # ended.
        self._limit_bytes = 2 * host_window_bytes + max_frame_bytes
        self._payload_bytes = 0  # of all frames
        self._managed_bytes = 0  # of these, those of management messages
        self._settled_bytes = 0  # the same, as windows would count them
        self._lock = threading.Lock()  # guards _taken_bytes
        self._taken_bytes = 0
        self._untaken_keys = 0
        self._forged_places = 0
        self._refusals = 0
        self._is_ready = False

    @property
    def output_bytes(self) -> int:
        """How many bytes came for clients."""
        return self._payload_bytes - self._managed_bytes

    @property
    def unread_bytes(self) -> int:
        """How many of these clients have not taken, as windows count them."""
        settled = self._settled_bytes + self._table.forgiven_bytes + self._taken_bytes
        return self._payload_bytes + MESSAGE_COST_BYTES * self.frame_count - settled

    def arriving(self, frames: Sequence[Frame]) -> None:
        """These frames came, and will be handed over next."""
        unread_bytes = self.unread_bytes
        if unread_bytes > self._negligible_bytes:
            share = share_of(self._window_bytes, self._host_window_bytes, unread_bytes)
            self.credit_bytes = credit_due(share)
        else:  # the share is the whole window, which need not be worked out for each small message
            self.credit_bytes = self._full_credit_bytes
        if unread_bytes > self._limit_bytes + GUARANTEED_BYTES * len(self._table) and any(
            frame.channel is not Channel.MANAGEMENT for frame in frames
        ):
            raise ProtocolError(
                f"{unread_bytes} bytes of its sessions wait for clients that do not read,"
                " beyond all windows"
            )
        self.frame_count += len(frames)

    def arrived(self) -> None:
        """The frames were handed over."""
        self._payload_bytes = self._link.whole_bytes - HEADER_BYTES * self.frame_count

    def managed(self, payload: bytes) -> None:
        """One of the frames was a management message."""
        self._settle(len(payload))

    def lost(self, payload_bytes: int) -> None:
        """A frame was lost for lack of memory."""
        self.frame_count += 1
        self._settle(payload_bytes)

    def taken(self, count: int) -> None:
        """Clients took so many bytes, as windows count them. From any thread."""
        with self._lock:
            self._taken_bytes += count

    def ready(self) -> None:
        """The host says that it is ready."""
        if self._is_ready:
            raise ProtocolError("it says a second time that it is ready")
        self._is_ready = True

    def preparing(self) -> None:
        """The host has sent a line about the environment that it makes."""
        if self._is_ready:
            raise ProtocolError("it says that its environment is made, and is ready already")

    def freed(self, count: int) -> None:
        """The host is about to be told that so many of its files are free."""
        self._untaken_keys = self._untaken_keys + count if self._link.backlog_bytes else 0
        if self._untaken_keys > _MOST_UNTAKEN_KEYS:
            raise ProtocolError(
                f"it removes files and does not take the answers: {self._untaken_keys} of them wait"
            )

    def refused(self) -> bool:
        """A file of the host was refused. Returns whether to log that: a host must not be able to
        fill the log."""
        self._refusals += 1
        return self._refusals <= _MOST_LOGGED_REFUSALS

    def forged(self, error: ValueError) -> None:
        """The host announced a file that cannot be its own."""
        self._forged_places += 1
        if self._forged_places > _MOST_FORGED_PLACES:
            raise ProtocolError(f"it announces what is not its own, again and again: {error}")

    def _settle(self, payload_bytes: int) -> None:
        self._managed_bytes += payload_bytes
        self._settled_bytes += payload_bytes + MESSAGE_COST_BYTES
