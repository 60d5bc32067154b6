"""How much may be sent and not yet taken. Both ends of a Pipe judge by these rules; no I/O here.

On the way up there are two bounds: each session has a window, and all sessions of a host together
have one more. The second could be used up by sessions whose clients do not read, so:

- each session has `GUARANTEED_BYTES` that do not count against the host's window at all;
- beyond these, a session's share of its own window is the square of what the others leave free of
  the host's: with half of it in use by others, a quarter of its own. So those that stalled stop
  before the host's window is full: a hundred of them, at 64 and 8 MiB, leave 4.5 MiB.

The idea is the dynamic threshold of switches that share memory (Choudhury and Hahne, 1998); there
the share falls with what is free, not with its square, for their queues are emptied all the time.
Those of stalled clients are not, and one after the other would take a ninth of what is left, until
nothing is.

What a host has outstanding is bounded by its window, the guaranteed bytes of each session, and one
message that is larger than all of that.
"""

from __future__ import annotations

__all__ = ["GUARANTEED_BYTES", "credit_due", "goes_beyond_share", "has_room", "share_of"]

GUARANTEED_BYTES = 64 * 1024
"""What each session may have outstanding however much others have, if its window is so large."""


def has_room(count: int, outstanding: int, size: int) -> bool:
    """Whether a message of `count` bytes goes: when the window has room for it, or when at most a
    quarter is outstanding (so one that is larger than the window goes too)."""
    return outstanding + count <= size or outstanding <= size // 4


def credit_due(size: int) -> int:
    """At how many bytes a taker owes its credit at the latest: a sender never waits for a taker
    that waits for more."""
    return size // 4


def share_of(size: int, host_size: int, others_used: int) -> int:
    """How much one session may have outstanding now.

    Args:
        size: the session's window.
        host_size: the host's window.
        others_used: what of that is in use by others.
    """
    free = max(0, host_size - others_used)
    share = min(size, host_size) * free * free // (host_size * host_size)
    return max(min(size, GUARANTEED_BYTES), share)


def goes_beyond_share(
    count: int, outstanding: int, share: int, *, host_size: int, host_used: int
) -> bool:
    """Whether a message that is larger than what its session's share has left goes all the same.

    It does when at most a quarter of the share is outstanding, and it takes at most half of what is
    free of the host's window; or, for one that is larger than that window, when at most a quarter
    of that is in use.
    """
    if outstanding > share // 4:
        return False
    return count <= (host_size - host_used) // 2 or host_used <= host_size // 4
