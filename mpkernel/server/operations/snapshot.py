"""What a server looks like at one moment, for its operator: apps, processes, sessions.

Moments are seconds of the machine's monotonic clock (`time.monotonic()`), which is the same for
every process and which nobody sets; where it is the calendar's, the name says so. How a snapshot is
taken is `observing`'s, how it reaches the operator `snapshot_file`'s and `finding`'s.
"""

from __future__ import annotations

import msgspec

from mpkernel.server.supervision.tallies import AppTotals

__all__ = ["AppSnapshot", "HostSnapshot", "PoolSnapshot", "ServerSnapshot", "SessionSnapshot"]


class SessionSnapshot(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One session.

    Attributes:
        session_id: the client's name for it.
        is_running: whether its kernel runs a command, as far as it says.
        running: what it runs, as far as its journal knows; "" where nobody knows.
        done: commands that its kernel has done, since its process started.
        window_used_bytes: sent down, and not yet taken by the kernel.
        waiting_bytes: kept in the server until the window has room.
        acted_at: when its client last sent something.
        strikes: how often it has ended its process.
    """

    session_id: str
    is_running: bool
    running: str
    done: int
    window_used_bytes: int
    waiting_bytes: int
    acted_at: float
    strikes: int


class HostSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """One process of an app.

    Attributes:
        pid: its id.
        state: where it stands in its life, see `lifecycle.State`.
        refusal: why it takes no new sessions although it lives; None when it does.
        started_at: when it was launched, or adopted.
        rss_bytes: memory of it and all that it started; None where nothing is sampled, or not yet.
        cpu: processors in use by the same, 1.0 for one of them wholly; None as above.
        threads, descriptors: of the process itself; None as above.
        processes: it and all that it started; None as above.
        messages: how many came from it.
        sent: how many were sent to it.
        messages_per_s, sent_per_s: the same per second, lately.
        backlog_bytes: what waits in the server because the process does not take it.
        files_bytes: what its virtual files hold.
        sessions: those whose kernels have not ended.
    """

    pid: int
    state: str
    refusal: str | None
    started_at: float
    rss_bytes: int | None
    cpu: float | None
    threads: int | None
    descriptors: int | None
    processes: int | None
    messages: int
    sent: int
    messages_per_s: float
    sent_per_s: float
    backlog_bytes: int
    files_bytes: int
    sessions: list[SessionSnapshot]


class AppSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """One app.

    Attributes:
        path: absolute path of its file.
        name: the short name.
        is_failed: whether it died too often, and is not started for a while.
        waiting: sessions that wait for a process.
        deaths: how often a process of its ended unasked, or was restarted.
        last_reason: why the last one did, in a word; None when none did.
        last_death: the same in a sentence.
        hosts: its processes, the one that takes sessions first.
        totals: what has happened to it since its first session.
    """

    path: str
    name: str
    is_failed: bool
    waiting: int
    deaths: int
    last_reason: str | None
    last_death: str | None
    hosts: list[HostSnapshot]
    totals: AppTotals


class PoolSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A pool, and so a server.

    Attributes:
        apps: those that had a session once, by their paths. Of many, the idle ones are left out.
        totals: what has happened to all apps together, those that are left out among them.
        standby: ids of the processes that are ready for an app.
        files: how many virtual files there are.
        files_bytes: what they hold together.
        is_leaving: whether it takes no sessions any more.
    """

    apps: list[AppSnapshot]
    totals: AppTotals
    standby: list[int]
    files: int
    files_bytes: int
    is_leaving: bool


class ServerSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A server, as its file says.

    Attributes:
        pid: its process id.
        created_at: when the process was created; seconds since the epoch.
        program: what was started, without its arguments.
        version: mpkernel's.
        python: Python's.
        started_at: when its pool was started; `time.monotonic()` on the same machine.
        taken_at: when this was so; the same.
        has_control: whether orders reach it.
        pool: its apps and processes.
    """

    pid: int
    created_at: float
    program: str
    version: str
    python: str
    started_at: float
    taken_at: float
    has_control: bool
    pool: PoolSnapshot
