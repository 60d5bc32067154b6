"""`Settings`: everything that can be set, with its default.

`setting_checks` says which values are possible. `configuration` finds the values (in flags, the
environment and a file) and says which apps have their own. `docs/settings.md` has a table of all
settings.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from mpkernel.errors import SettingsError
from mpkernel.setting_checks import check, check_order
from mpkernel.wire.frames import MAX_FRAME_BYTES

__all__ = ["POOL_WIDE", "Settings"]

_MIB = 1024 * 1024

POOL_WIDE = frozenset(
    {
        "drain_grace_s",
        "files_bytes",
        "control",
        "crash_reports",
        "log_format",
        "log_level",
        "metrics_file",
        "metrics_interval_s",
        "relay_console",
        "session_files_bytes",
        "session_store",
        "session_store_bytes",
        "session_store_delay_s",
        "session_store_directory",
        "session_store_scope",
        "session_store_sessions",
        "session_store_ttl_s",
        "snapshot",
        "sse_stall_timeout_s",
        "standby",
        "standby_imports",
        "watch_interval_s",
    }
)
"""The settings of a whole pool: no app can have a value of its own."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How a `HostPool` behaves.

    A setting whose name ends in `_s` is a number of seconds, one whose name ends in `_bytes` a
    number of bytes. A *process* is here always the process of an app, and a *session* is one client
    of an app, with a kernel of its own.

    Attributes:
        start_timeout_s: how long a process may take from its launch until it is ready, and a
            standby until its imports are done. Then it is ended. Default 60.
        stop_grace_s: how long a process that was asked to leave may take before it is killed.
            Default 1.
        drain_grace_s: how long running commands may go on when the server leaves. Default 7: the
            server can then do the rest within the 10 s after which a container is killed.
        interrupt_grace_s: how long the code of a closed session is interrupted, again and again.
            If the session's thread then still takes CPU time, its process drains: new sessions get
            a fresh process, and the old one ends with its last other session. If the thread only
            waits, it is left waiting, and ends when its wait ends. Default 2.
        max_abandoned: per process, how many threads may be left waiting like that before the
            process drains. Default 16.
        idle_retire_s: how long a process stays after its last session ended. Default 5; 0: it
            leaves at once; None: it never leaves for that.
        processes_max: the largest number of processes over which the sessions of an app are
            spread. Sessions in one process share modules, caches and Python's interpreter lock.
            Processes that are about to leave are not counted. Default 1; None: no bound.
        processes_min: how many processes an app keeps from its first session on, even while it has
            no session. Default 0.
        sessions_per_process: a process that has this many sessions gets no more while the app may
            have another process. Default None: no bound.
        spread_at: a process in which this many sessions compute gets no more sessions while the app
            may have another process. A session computes while it runs a command for longer than
            0.1 s, and until its first command is done. Default 1.
        sessions_max: how many sessions an app may have. One more is refused. Default None: no
            bound.
        window_bytes: per session and direction, how many bytes may be sent that the other side has
            not yet taken. On the way from the kernel to the client, each message counts 64 bytes
            more than its size. Default 8 MiB.
        host_window_bytes: how many bytes all sessions of a process together may have sent to the
            server that were not yet taken there. The first 64 KiB of each session do not count. The
            more of it is in use, the less of its own window each session may use. Default 64 MiB.
        backlog_bytes: per process, how many bytes the server keeps that the process has not read
            yet. When there are more, a send is refused. Default 64 MiB.
        sse_stall_timeout_s: for how long a page of marimo's that is connected by server-sent events
            (not by a WebSocket) may read nothing of what is sent to it. Then its connection ends,
            and it may connect again. Default 60; None: for ever.
        max_frame_bytes: the size of the largest message. Default 256 MiB; marimo's servers have
            1 GiB.
        relay_console: whether what a process writes to its descriptors 1 and 2 is written to the
            server's, each line with the app's name before it. Default True.
        file_storage: where apps keep virtual files: "shared_memory" (default), "temp_file", or
            None: nowhere; the files become data URLs.
        file_fallback: what is used instead when shared memory is full or cannot be used:
            "temp_file" (default), or None: the app gets the error.
        session_files_bytes: how many bytes one session may keep in virtual files. Default None: no
            bound.
        files_bytes: how many bytes all sessions of the pool together may keep in virtual files.
            Default None: no bound.
        recycled_files_bytes: per process, how much freed shared memory is kept to be used again.
            Default 64 MiB.
        recycled_files_age_s: how long freed shared memory is kept. Default 30.
        restart_limit: after how many deaths within `restart_window_s` a process is still started
            again. After one more, it is not started for `restart_cool_down_s`. Deaths are counted
            for each of the app's processes on its own. Default 5.
        restart_window_s: see `restart_limit`. 0: no earlier death counts. Default 60.
        restart_cool_down_s: see `restart_limit`. Default 60.
        restart_backoff_s: how long the second restart within `restart_window_s` waits (the first
            does not wait). Each further restart waits twice as long as the one before. A random
            part of each wait, at most half of it, is left out. Default 0.5.
        restart_backoff_max_s: the longest such wait. Default 30.
        journal_bytes: per session, how much is kept to bring it back after the death of its
            process. It is also how much may be sent to the session while it has no process; more is
            refused. Default 1 MiB.
        journal_files_bytes: per session, how much of uploaded files and other long texts is kept
            to bring it back, beside `journal_bytes`, in shared memory or in temporary files.
            Default 1 GiB; 0: none.
        session_store: whether sessions are also stored on the disk, so that they come back after
            the end of the server. Default False; marimo's servers have True.
        session_store_directory: where they are stored. No other user may have access to it.
            Servers that share it take over the sessions of those among them that have ended.
            Default None: `$XDG_STATE_HOME/mpkernel/sessions`, which is
            `~/.local/state/mpkernel/sessions` where that variable is not set.
        session_store_delay_s: how long after a change a session is written to the disk. Default
            0.1. With 0, `send` waits until what it sends is on the disk.
        session_store_scope: who gets the values of a stored session back, in a server of marimo's:
            "reconnect" (default): the page that was open, when it connects again; "browser": a page
            that is opened anew in the same browser, too. Other servers do not use it.
        session_store_ttl_s: how long a session can come back after it has ended, or after its
            server has ended. Default 3600.
        session_store_sessions: how many sessions are stored. If there are more, the oldest are
            removed. Default 10,000.
        session_store_bytes: how many bytes they may have together. If they have more, the oldest
            are removed. Default 1 GiB.
        watch_interval_s: the server measures in this interval what each process uses. A process
            that has computed nothing lately, and has no bound on its memory, is measured a quarter
            as often. Default 1; None: nothing is measured, and the settings from
            `memory_soft_bytes` to `max_age_s` have no effect.
        memory_soft_bytes: resident memory of a process and of all that it started, summed (memory
            that forked processes share counts once for each). Over it, the process gets no new
            sessions until it uses a tenth less than this. Default None: no bound.
        memory_hard_bytes: resident memory, summed in the same way. Over it, the process is ended
            and started again, and its sessions come back. Default None: no bound.
        ping_interval_s: in this interval each process is asked whether it still answers. A process
            that has computed nothing lately, and has no bound on its memory, is asked a quarter as
            often. Default 5.
        ping_timeout_s: a process that has not answered for this long, and has computed nothing
            meanwhile, is ended and started again. So is one that a debugger has stopped: use None
            while you debug. Default 60; None: no process is asked.
        max_threads: a process with more threads is replaced: new sessions get a fresh process, and
            the old one leaves with its last session. Default None: no bound.
        max_descriptors: a process with more open descriptors is replaced in the same way. Default
            None: no bound.
        max_age_s: a process that has run for longer is replaced in the same way. Default None: no
            bound.
        standby: how many processes wait, with their imports done, until an app starts or restarts
            and takes one of them. Default 0; marimo's servers have 1.
        standby_imports: the modules that these processes import beforehand: modules of installed
            libraries that most apps import anyway, and the kernel's own. Default: the embedded
            kernel; marimo's servers import marimo and its kernel.
        snapshot: whether the server keeps a snapshot of itself, which `mpkernel status` and
            `mpkernel top` show. Default False; marimo's servers have True.
        control: whether the server takes orders from `mpkernel restart`, `drain` and `stop`, when
            its own user runs these commands. It needs `snapshot`. Default False; marimo's servers
            have True.
        crash_reports: when a process dies, a report is written. So many of them are kept, counted
            over all servers of the user. Default 0: none is written; marimo's servers keep 100.
        sandbox: whether an app whose file has a header that names its packages (PEP 723) runs in an
            environment of its own, which uv makes; see `docs/sandboxes.md`. Default False: all apps
            use the server's packages.
        python: another Python for processes: the path of its program, or of the folder of a virtual
            environment. It may be any Python from 3.11 on, and needs msgspec; for marimo's
            notebooks, also the server's version of marimo. An app that runs in an environment of
            its own (`sandbox`) uses the Python of that environment. Default None: the server's
            Python.
        launch_wrapper: a command that starts the Python of a process, with its words as for a
            shell: "nice -n 10", or one that gives the process namespaces of its own, as "bwrap …"
            does. The command must replace itself by the Python (`exec`), or start it and wait for
            it. Standby processes are started with the command of the pool, not with that of an app.
            Default None: the server starts the Python itself.
        env_allow: which of the server's environment variables a process gets, as globs of their
            names. A few are always given: see `server.launching.environments`. Default None: all.
        env_deny: which of the server's environment variables a process does not get, also where
            `env_allow` matches. Default: none.
        confine: how far apps need not be trusted: "off" (default), "files" or "strict". With
            "files", an app's process, and all that it starts, reads only Python, its environment's
            packages, the system's libraries and the app's folder, and writes only to temporary
            folders of its own. It cannot send signals to other processes, read anything of them, or
            connect to sockets of this machine other than TCP's and UDP's. With "strict", it also
            cannot use the network, except for the ports in `confine_connect`, and its threads and
            processes, the size of its files and its memory are limited. Linux only; see
            `docs/security.md`.
        confine_read: files and folders that a confined app may read beside these. "~" is the
            server's home. Default: none.
        confine_write: files and folders that a confined app may read and change beside these.
            Default: none.
        confine_connect: the TCP ports, of any machine, to which an app may connect with "strict".
            Default: none.
        cluster: the Dask cluster on whose workers processes run: the address of its scheduler, as
            "tls://host:8786", or "local:4" for four workers on this machine; see
            `docs/cluster.md`. Default None: processes run on this machine.
        cluster_resources: what a worker must have for a process: names of resources that the
            workers were started with, each with "=" and how much of it the process takes (1 without
            that): "GPU=1". Default: nothing.
        cluster_memory_bytes: how much of its resource `MEMORY` a worker must have for a process.
            Default None: that is not asked.
        cluster_silence_s: a process from whose machine nothing has come for this long is lost: its
            sessions come back on another one. Default 20.
        cluster_upload: whether the folder of an app's file is sent to the worker, and the app runs
            from the copy there. Default False: the worker has the file under the same path.
        cluster_upload_bytes: how many bytes the files of that folder may have. Default 64 MiB.
        log_format: how what processes write to their descriptors 1 and 2 is relayed: "plain"
            (default), lines with the app's name before them, or "json", lines of JSON; see
            `json_lines`. `mpkernel run` writes its own log in the same way.
        log_level: the lowest level of mpkernel's own messages that `mpkernel run` writes to its
            log: "debug", "info" (each process's start and end, among others), "warning" (default)
            or "error". A program of your own sets the level of the loggers "mpkernel" and "shm".
        metrics_file: the path of a file in the OpenMetrics text format, to which the server writes
            numbers for monitoring. Every user may read it. It is removed when the server ends.
            Default None: no such file.
        metrics_interval_s: how often the file is written. Default 15.

    Raises:
        SettingsError: a value is impossible.
    """

    start_timeout_s: float = 60.0
    stop_grace_s: float = 1.0
    drain_grace_s: float = 7.0
    interrupt_grace_s: float = 2.0
    max_abandoned: int = 16
    idle_retire_s: float | None = 5.0
    processes_max: int | None = 1
    processes_min: int = 0
    sessions_per_process: int | None = None
    spread_at: int = 1
    sessions_max: int | None = None
    window_bytes: int = 8 * _MIB
    host_window_bytes: int = 64 * _MIB
    backlog_bytes: int = 64 * _MIB
    sse_stall_timeout_s: float | None = 60.0
    max_frame_bytes: int = MAX_FRAME_BYTES
    relay_console: bool = True
    file_storage: Literal["shared_memory", "temp_file"] | None = "shared_memory"
    file_fallback: Literal["temp_file"] | None = "temp_file"
    session_files_bytes: int | None = None
    files_bytes: int | None = None
    recycled_files_bytes: int = 64 * _MIB
    recycled_files_age_s: float = 30.0
    restart_limit: int = 5
    restart_window_s: float = 60.0
    restart_cool_down_s: float = 60.0
    restart_backoff_s: float = 0.5
    restart_backoff_max_s: float = 30.0
    journal_bytes: int = _MIB
    journal_files_bytes: int = 1024 * _MIB
    session_store: bool = False
    session_store_directory: str | None = None
    session_store_delay_s: float = 0.1
    session_store_scope: Literal["reconnect", "browser"] = "reconnect"
    session_store_ttl_s: float = 3600.0
    session_store_sessions: int = 10_000
    session_store_bytes: int = 1024 * _MIB
    watch_interval_s: float | None = 1.0
    memory_soft_bytes: int | None = None
    memory_hard_bytes: int | None = None
    ping_interval_s: float = 5.0
    ping_timeout_s: float | None = 60.0
    max_threads: int | None = None
    max_descriptors: int | None = None
    max_age_s: float | None = None
    standby: int = 0
    standby_imports: tuple[str, ...] = ("mpkernel.kernel.main",)
    snapshot: bool = False
    control: bool = False
    crash_reports: int = 0
    sandbox: bool = False
    python: str | None = None
    launch_wrapper: str | None = None
    env_allow: tuple[str, ...] | None = None
    env_deny: tuple[str, ...] = ()
    confine: Literal["off", "files", "strict"] = "off"
    confine_read: tuple[str, ...] = ()
    confine_write: tuple[str, ...] = ()
    confine_connect: tuple[int, ...] = ()
    cluster: str | None = None
    cluster_resources: tuple[str, ...] = ()
    cluster_memory_bytes: int | None = None
    cluster_silence_s: float = 20.0
    cluster_upload: bool = False
    cluster_upload_bytes: int = 64 * _MIB
    log_format: Literal["plain", "json"] = "plain"
    log_level: Literal["debug", "info", "warning", "error"] = "warning"
    metrics_file: str | None = None
    metrics_interval_s: float = 15.0

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            _check_type(name, value)
            check(name, value)
        check_order("processes_min", self.processes_min, "processes_max", self.processes_max)
        check_order(
            *("memory_soft_bytes", self.memory_soft_bytes),
            *("memory_hard_bytes", self.memory_hard_bytes),
        )


_FIELDS = {field.name: field for field in msgspec.structs.fields(Settings)}


def _check_type(name: str, value: object) -> None:
    try:
        msgspec.convert(value, _FIELDS[name].type)
    except msgspec.ValidationError as error:
        kind = Settings.__annotations__[name]
        raise SettingsError(
            f"setting {name} is {value!r}; it must be of the type {kind}"
        ) from error
