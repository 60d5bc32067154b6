"""How many bytes may be outstanding: sent, and not yet taken by the receiver. Both ends of a Pipe
use these rules. No I/O here.

A sender waits while its window has no room. The receiver gives room back with a `Credit`, which
says how many bytes it has taken. It may collect what it owes up to a quarter of the window
(`credit_due`), and a sender may send while at most a quarter of the window is outstanding
(`has_room`). So the two never wait for each other, and also a message that is larger than the
window is sent at some time.

On the way up there are two bounds: each session has a window, and all sessions of a host together
have one more, the host's window. Sessions whose clients do not read could use up the host's window.
Therefore:

- Each session has `GUARANTEED_BYTES` that do not count against the host's window at all.
- Beyond these, each session gets a share of its own window. If the other sessions leave the part p
  of the host's window free, the share is p squared: with half of the host's window in use by
  others, a session may use a quarter of its own. So sessions whose clients do not read have to wait
  before the host's window is full. With a host's window of 64 MiB and sessions' windows of 8 MiB, a
  hundred such sessions leave 4.5 MiB of the host's window free.

The idea is the dynamic threshold of network switches that share memory (Choudhury and Hahne, 1998).
In a switch the share is p, not p squared, because its queues are emptied all the time. The queues
of clients that do not read are not emptied: with p alone, each further session would take a ninth
of what is left, until nothing is left.

What a host has outstanding is bounded by its window, the guaranteed bytes of each session, and one
message that is larger than all of that.
"""

from __future__ import annotations

__all__ = ["GUARANTEED_BYTES", "credit_due", "goes_beyond_share", "has_room", "share_of"]

GUARANTEED_BYTES = 64 * 1024
"""How many bytes each session may have outstanding, however many others have. If the session's own
window is smaller than that, the window is the bound."""


def has_room(count: int, outstanding: int, size: int) -> bool:
    """Whether a message of `count` bytes may be sent: when the window has room for it, or when at
    most a quarter of the window is outstanding. So a message that is larger than the window can be
    sent, too."""
    return outstanding + count <= size or outstanding <= size // 4


def credit_due(size: int) -> int:
    """When a receiver has taken so many bytes, it must send its `Credit`. It is a quarter of the
    window: so a sender never waits for a receiver that itself waits for more bytes."""
    return size // 4


def share_of(size: int, host_size: int, others_used: int) -> int:
    """How many bytes one session may have outstanding now.

    Args:
        size: the session's window.
        host_size: the host's window.
        others_used: how much of the host's window other sessions use.
    """
    free = max(0, host_size - others_used)
    share = min(size, host_size) * free * free // (host_size * host_size)
    return max(min(size, GUARANTEED_BYTES), share)


def goes_beyond_share(
    count: int, outstanding: int, share: int, *, host_size: int, host_used: int
) -> bool:
    """Whether a message may be sent although the session's share has no room for it.

    It may when at most a quarter of the share is outstanding, and when one of two things is true:
    the message takes at most half of what is free of the host's window, or at most a quarter of the
    host's window is in use.
    """
    if outstanding > share // 4:
        return False
    return count <= (host_size - host_used) // 2 or host_used <= host_size // 4
