"""`Collecting`: decides how long a flood of small messages may collect before it is read.

A server that reads faster than a process writes would be woken for each message or two, and waking
costs several times as much as the message. So when a process sends message after message, and is
sent nothing meanwhile, the server reads the Pipe only from time to time, and finds many messages:

    few messages, or an exchange ─ 16 reads in a row, nothing was sent ─▶ pause, read, pause …
                       ▲                                                    │
                       └── something was sent, or messages have become few ─┘

A pause takes a millisecond at the longest, so nobody sees it on a page. Where a client waits for
answers, it sends commands: then there is no pause at all. A pause ends before so much has collected
that the Pipe would be full, because the process would have to wait then.

Network cards moderate their interrupts in the same way (Mogul and Ramakrishnan, 1997). No I/O here,
and no clock.
"""

from __future__ import annotations

__all__ = ["Collecting"]

_READS_IN_A_ROW = 16
_APART_S = 0.000_25
_MOST_S = 0.001
_LEAST_S = 0.000_1  # a shorter pause costs more than it saves
_MOST_BYTES = 128 * 1024
_SMALL_BYTES = 1024  # a server needs about as long for a larger message as a process does
_BYTES_BESIDE_A_FRAME = 1024  # what the system counts for each write, beside the bytes written


class Collecting:
    """The pauses of one reader."""

    def __init__(self) -> None:
        self._reads_in_a_row = 0
        self._read_at = 0.0
        self._frames = 0
        self._bytes = 0
        self._sent = 0

    def pause_s(self, read_at: float, frames: int, byte_count: int, sent: int) -> float:
        """To be called after each read. Returns how many seconds after the beginning of this read
        the next one is due; 0: read as soon as something comes.

        Args:
            read_at: when the read began, in seconds of a monotonic clock.
            frames, byte_count: how much was read, since the Pipe was opened.
            sent: how many frames were sent the other way, since the Pipe was opened.
        """
        took_s, self._read_at = read_at - self._read_at, read_at
        new_frames, self._frames = frames - self._frames, frames
        new_bytes, self._bytes = byte_count - self._bytes, byte_count
        if took_s >= new_frames * _APART_S or sent != self._sent:
            self._sent = sent
            self._reads_in_a_row = 0
            return 0.0
        self._reads_in_a_row += 1
        if self._reads_in_a_row < _READS_IN_A_ROW or new_bytes > new_frames * _SMALL_BYTES:
            return 0.0
        in_the_pipe = new_bytes + new_frames * _BYTES_BESIDE_A_FRAME
        pause_s = min(_MOST_S, took_s * _MOST_BYTES / in_the_pipe)
        return pause_s if pause_s >= _LEAST_S else 0.0
