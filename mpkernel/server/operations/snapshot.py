"""What a server looks like at one moment, for its operator: apps, processes, sessions.

Times are seconds of the machine's monotonic clock (`time.monotonic()`), which is the same for every
process and which nobody can set. Only `created_at` is a time of the calendar. `observing` takes a
snapshot; `snapshot_file` and `finding` bring it to the operator.
"""

from __future__ import annotations

import msgspec

from mpkernel.server.supervision.tallies import AppTotals
from mpkernel.wire.for_people import ForPeople

__all__ = [
    "AppSnapshot",
    "HostSnapshot",
    "Limits",
    "PoolSnapshot",
    "ServerSnapshot",
    "SessionSnapshot",
    "place_of",
]


class SessionSnapshot(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One session.

    Attributes:
        session_id: the client's name for it.
        is_running: whether its kernel runs a command, as far as it says.
        running: what it runs, as far as its journal knows; "" if that is unknown.
        done: how many commands its kernel has done since its process started.
        window_used_bytes: how many bytes were sent down, and not yet taken by the kernel.
        waiting_bytes: how many bytes the server keeps until the window has room.
        acted_at: when its client last sent something.
        strikes: how often it has ended its process.
        running_since: since when its kernel runs the command that it runs; None if it runs none.
    """

    session_id: str
    is_running: bool
    running: str
    done: int
    window_used_bytes: int
    waiting_bytes: int
    acted_at: float
    strikes: int
    running_since: float | None = None


class HostSnapshot(ForPeople, frozen=True, kw_only=True):
    """One process of an app.

    Attributes:
        pid: its id, which orders name it by. Of a process on a worker: a number of the server's.
        number: which of the app's processes it is, from 1 on; another process has the number again
            when this one has ended.
        state: its state, see `lifecycle.State`.
        refusal: why it takes no new sessions although it lives; None if it takes them.
        started_at: when it was launched, or taken from the standby.
        rss_bytes: the memory of it and of all that it started; None while it has not been sampled.
        cpu: how many processors these use, 1.0 for one processor at full load; None likewise.
        threads, descriptors: how many the process itself has; None likewise.
        processes: how many processes there are, itself and all that it started; None likewise.
        messages: how many messages came from it.
        sent: how many messages were sent to it.
        messages_per_s, sent_per_s: how many per second, lately.
        backlog_bytes: how many bytes wait in the server because the process does not take them.
        files_bytes: how many bytes its virtual files hold.
        sessions: the sessions whose kernels have not ended.
        environment: the folder of the environment that it has for itself; None if it uses the
            server's packages.
        is_preparing: whether that environment is still being made.
        python: the program of its Python where that is not the server's; else None.
        confine: how it is confined; see `Settings.confine`.
        launch_wrapper: the command that started its Python; None if the server did. See
            `Settings.launch_wrapper`.
        worker: the address of the cluster's worker where it runs; "" while it waits for one; None
            if it runs on the server's machine.
        pid_on_worker: its id on the worker's machine; None before it was launched there, and for a
            process of the server's machine.
    """

    pid: int
    number: int = 0
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
    environment: str | None = None
    is_preparing: bool = False
    python: str | None = None
    confine: str = "off"
    launch_wrapper: str | None = None
    worker: str | None = None
    pid_on_worker: int | None = None


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What an app may use, as the settings of the same names say. None: there is no limit.

    Attributes:
        processes_max: how many processes it may have.
        sessions_max: how many sessions.
        sessions_per_process: how many of them on one process.
        memory_soft_bytes, memory_hard_bytes: how much memory one of its processes may use.
        max_threads, max_descriptors: how many of these one of its processes may have.
    """

    processes_max: int | None = None
    sessions_max: int | None = None
    sessions_per_process: int | None = None
    memory_soft_bytes: int | None = None
    memory_hard_bytes: int | None = None
    max_threads: int | None = None
    max_descriptors: int | None = None


class AppSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """One app.

    Attributes:
        path: absolute path of its file.
        name: the short name.
        is_failed: whether it died too often, and is not started for a while.
        waiting: how many sessions wait for a process.
        deaths: how often one of its processes ended by itself, or was restarted.
        last_reason: why the last of these ended, in a word; None if there was none.
        last_death: why it ended, in a sentence.
        hosts: its processes, the one that takes sessions first.
        totals: what has happened to it since its first session.
        limits: what it may use.
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
    limits: Limits = Limits()


class PoolSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A pool, and so a server.

    Attributes:
        apps: the apps that have had a session, by their paths. If there are many, idle ones are
            left out.
        totals: what has happened to all apps together, also to those that are left out.
        standby: ids of the processes that are ready for an app.
        files: how many virtual files there are.
        files_bytes: what they hold together.
        is_leaving: whether it takes no sessions any more.
        one_of: the name of the server whose processes listen together, if this process is one of
            several; else None.
        standby_wanted: how many processes are to be ready for an app.
        files_limit_bytes: how many bytes virtual files may hold together; None: as many as fit.
    """

    apps: list[AppSnapshot]
    totals: AppTotals
    standby: list[int]
    files: int
    files_bytes: int
    is_leaving: bool
    one_of: str | None = None
    standby_wanted: int = 0
    files_limit_bytes: int | None = None


class ServerSnapshot(ForPeople, frozen=True, kw_only=True):
    """A server, as its snapshot's file describes it.

    Attributes:
        pid: its process id.
        created_at: when the process was created; seconds since the epoch.
        program: the program that was started, without its arguments.
        version: the version of mpkernel.
        python: the version of Python.
        started_at: when its pool was started, by the machine's `time.monotonic()`.
        taken_at: when this snapshot was taken, by the same clock.
        has_control: whether it takes orders.
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


def place_of(worker: str, pid_on_worker: int | None) -> str:
    """Where a process of a cluster runs, for people.

    Args:
        worker, pid_on_worker: see `HostSnapshot`.
    """
    if not worker:
        return "waits for a worker of the cluster"
    there = f", where its process id is {pid_on_worker}" if pid_on_worker is not None else ""
    return f"on worker {worker}{there}"
