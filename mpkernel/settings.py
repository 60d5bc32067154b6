"""`Settings`: everything that can be set, with the unit in its name and the default here.

Where values come from (flags, the environment, a file), and which apps have their own, is told in
`configuration`.
"""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from mpkernel.errors import SettingsError
from mpkernel.wire.bounds import LEAST_FRAME_BYTES, MOST_FRAME_BYTES
from mpkernel.wire.frames import MAX_FRAME_BYTES

__all__ = ["POOL_WIDE", "Settings"]

_MIB = 1024 * 1024
_MOST = 2**53
"""The largest value of any setting: every timer and counter can hold it."""
_VARIABLES = re.compile(r"([^\s=,\0\[\]]|\[[^\s=,\0\]]+\])+")
"""A glob of variables' names: it has no blanks and no "=", and every bracket in it is closed."""

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
        "session_store_sessions",
        "session_store_ttl_s",
        "snapshot",
        "sse_stall_timeout_s",
        "standby",
        "standby_imports",
        "watch_interval_s",
    }
)
"""The settings that all apps of a pool share: no app can have its own."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How a `HostPool` behaves.

    Attributes:
        start_timeout_s: how long an app's process may take to start, and a standby to import its
            modules. Default 60.
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
        idle_retire_s: how long a process stays after its last session ended. Default 5; 0 retires
            it at once, None never.
        processes_max: over how many processes at most an app's sessions are spread. Sessions in one
            process share modules, caches and Python's interpreter lock. Processes that are about to
            leave are not counted. Default 1; None: no bound.
        processes_min: how many processes an app keeps, from its first session on, also without any
            session. Default 0.
        sessions_per_process: with so many sessions, a process gets no more while the app may have
            another process. Default None: no bound.
        spread_at: with so many of its sessions computing, a process gets no more while the app may
            have another process. A session computes while it runs a command for longer than 0.1 s,
            and until its first command is done. Default 1.
        sessions_max: how many sessions an app may have. One more is refused. Default None: no
            bound.
        window_bytes: per session and direction, how many bytes may be sent and not yet taken. On
            the way up, each message counts 64 bytes more. Default 8 MiB.
        host_window_bytes: how many bytes all sessions of a process together may have sent to the
            server and not yet taken there. The first 64 KiB of each session do not count. The more
            of it is in use, the less of its own window each session may use. Default 64 MiB.
        backlog_bytes: per process, how many bytes the server keeps that the process's Pipe does
            not take now. When there are more, a send is refused. Default 64 MiB.
        sse_stall_timeout_s: how long a page of marimo's that is connected by server-sent events,
            not by a WebSocket, may take nothing of what is sent to it, before its connection ends.
            It may connect again. Default 60; None: for ever.
        max_frame_bytes: the largest message. Default 256 MiB; marimo's servers have 1 GiB.
        relay_console: whether what an app's process writes to its descriptors 1 and 2 is written
            to the server's, each line with the app's name before it. Default True.
        file_storage: where apps keep virtual files: "shared_memory" (default), "temp_file", or
            None: not at all, files are data URLs.
        file_fallback: what is used instead when shared memory is full or cannot be used:
            "temp_file" (default), or None: the app gets the error.
        session_files_bytes: how much one session may keep in virtual files. Default None: no bound.
        files_bytes: how much all sessions of the pool together may keep in virtual files. Default
            None: no bound.
        recycled_files_bytes: per process, how much freed shared memory is kept to be used again.
            Default 64 MiB.
        recycled_files_age_s: how long it is kept. Default 30.
        restart_limit: how many deaths of an app's process within `restart_window_s` are followed by
            a restart. After one more, the app is not started for `restart_cool_down_s`. Default 5.
        restart_window_s: see `restart_limit`. Default 60.
        restart_cool_down_s: see `restart_limit`. Default 60.
        restart_backoff_s: how long the second restart within the window waits (the first does not);
            each further one twice as long, less a random part of up to a half. Default 0.5.
        restart_backoff_max_s: the longest such wait. Default 30.
        journal_bytes: per session, how much is kept to bring it back after a death. Also how much
            may be sent to it while it has no process; more is refused. Default 1 MiB.
        journal_files_bytes: per session, how much of uploaded files and other long texts is kept
            to bring it back, in shared memory or temporary files, beside `journal_bytes`. Default
            1 GiB; 0: none.
        session_store: whether what brings sessions back is kept on the disk, too, so that a session
            comes back after the end of the server. Default False; marimo's servers do it.
        session_store_directory: where: a directory that no other user may enter. Servers that share
            it take over what those among them that died have left. Default None:
            `$XDG_STATE_HOME/mpkernel/sessions`, which is `~/.local/state/mpkernel/sessions` where
            that variable is not set.
        session_store_delay_s: how long after a change it is written. Default 0.1; 0: what is sent
            to a kernel is on the disk before `send` returns, which waits for the disk.
        session_store_ttl_s: how long a session that has ended, or whose server has, can come back.
            Default 3600.
        session_store_sessions: how many sessions are kept there. Of more, the oldest are removed.
            Default 10,000.
        session_store_bytes: how large their files may be together. Default 1 GiB.
        watch_interval_s: how often the server looks at what apps' processes use. Default 1; None:
            it does not look, and `memory_soft_bytes` and all that follow up to `max_age_s` have no
            effect.
        memory_soft_bytes: resident memory of an app's process and of all that it started, summed
            (pages that forked processes share count for each), over which it gets no new sessions
            until it uses a tenth less. Default None: no bound.
        memory_hard_bytes: resident memory, summed in the same way, over which the process is ended
            and started again. Default None: no bound.
        ping_interval_s: how often a process is asked whether it still answers. Default 5.
        ping_timeout_s: a process that has not answered for this long, and has computed nothing
            meanwhile, is ended and started again. So is one that a debugger has stopped: set None
            to debug. Default 60; None: no process is asked.
        max_threads: a process with more threads is replaced: new sessions get a fresh process, and
            the old one leaves with its last session. Default None: no bound.
        max_descriptors: a process with more open descriptors is replaced. Default None: no bound.
        max_age_s: a process that has run for longer is replaced. Default None: no bound.
        standby: how many warm processes wait for the next app that starts or restarts. Default 0.
        standby_imports: the modules that these processes import beforehand: modules of installed
            libraries that most apps import anyway. Default: none.
        snapshot: whether the server keeps a snapshot of itself, which `mpkernel status` and
            `mpkernel top` show. Default False; marimo's servers do.
        control: whether `mpkernel restart`, `drain` and `stop` reach the server, for its own user.
            Needs `snapshot`. Default False; marimo's servers are reached.
        crash_reports: how many reports of deaths of apps' processes are kept, of all servers of
            the user together. Default 0: none is written; marimo's servers keep 100.
        sandbox: whether an app whose file has a header that names its packages (PEP 723) runs in an
            environment of its own, which uv makes; see `docs/sandboxes.md`. Default False: all apps
            use the server's packages.
        python: another Python for the processes of apps: the path of its program, or of the folder
            of a virtual environment. It may be any Python from 3.11 on, and needs msgspec; for
            marimo's notebooks, the server's version of marimo, too. An app that runs in an
            environment of its own (`sandbox`) uses that one. Default None: the server's Python.
        env_allow: which of the server's environment variables an app's process gets, as globs of
            their names. Some it always gets: see `server.launching.environments`. Default None:
            all.
        env_deny: which of the server's environment variables it does not get, also where
            `env_allow` matches. Default: none.
        log_format: how what apps' processes write to their descriptors 1 and 2 is relayed:
            "plain" (default), lines with the app's name before them, or "json", lines of JSON; see
            `json_lines`. `mpkernel run` writes its own log in the same way.
        log_level: from which level on mpkernel's own loggers are heard in `mpkernel run`: "debug",
            "info" (each process's start and end, among others), "warning" (default) or "error". A
            program of your own sets the level of the loggers "mpkernel" and "shm".
        metrics_file: a file in the OpenMetrics text format, into which the server writes numbers
            for monitoring. Everybody may read it. It is removed when the server ends. Default
            None: no such file.
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
    standby_imports: tuple[str, ...] = ()
    snapshot: bool = False
    control: bool = False
    crash_reports: int = 0
    sandbox: bool = False
    python: str | None = None
    env_allow: tuple[str, ...] | None = None
    env_deny: tuple[str, ...] = ()
    log_format: Literal["plain", "json"] = "plain"
    log_level: Literal["debug", "info", "warning", "error"] = "warning"
    metrics_file: str | None = None
    metrics_interval_s: float = 15.0

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, float | int) and not abs(value) <= _MOST:  # rejects NaN, too
                raise SettingsError(f"setting {name} is {value}; it must not be over {_MOST}")
        for name in (
            "start_timeout_s",
            "processes_max",
            "sessions_per_process",
            "spread_at",
            "sessions_max",
            "window_bytes",
            "host_window_bytes",
            "backlog_bytes",
            "sse_stall_timeout_s",
            "watch_interval_s",
            "memory_soft_bytes",
            "memory_hard_bytes",
            "ping_interval_s",
            "ping_timeout_s",
            "max_threads",
            "max_descriptors",
            "max_age_s",
            "metrics_interval_s",
        ):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise SettingsError(f"setting {name} is {value}; it must be over 0")
        for name, choices in (
            ("file_storage", ("shared_memory", "temp_file", None)),
            ("file_fallback", ("temp_file", None)),
            ("log_format", ("plain", "json")),
            ("log_level", ("debug", "info", "warning", "error")),
        ):
            if getattr(self, name) not in choices:
                raise SettingsError(
                    f"setting {name} is {getattr(self, name)!r}; it must be one of {choices}"
                )
        for name in (
            "stop_grace_s",
            "drain_grace_s",
            "interrupt_grace_s",
            "max_abandoned",
            "idle_retire_s",
            "processes_min",
            "session_files_bytes",
            "files_bytes",
            "recycled_files_bytes",
            "recycled_files_age_s",
            "restart_limit",
            "restart_window_s",
            "restart_cool_down_s",
            "restart_backoff_s",
            "restart_backoff_max_s",
            "journal_bytes",
            "journal_files_bytes",
            "session_store_delay_s",
            "session_store_ttl_s",
            "session_store_sessions",
            "session_store_bytes",
            "standby",
            "crash_reports",
        ):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise SettingsError(f"setting {name} is {value}; it must not be negative")
        if self.processes_max is not None and self.processes_min > self.processes_max:
            raise SettingsError(
                f"setting processes_min is {self.processes_min}; it must not be over processes_max,"
                f" which is {self.processes_max}"
            )
        if not LEAST_FRAME_BYTES <= self.max_frame_bytes <= MOST_FRAME_BYTES:
            raise SettingsError(
                f"setting max_frame_bytes is {self.max_frame_bytes};"
                f" {LEAST_FRAME_BYTES} to {MOST_FRAME_BYTES} are possible"
            )
        for name, kind in (
            ("metrics_file", "file"),
            ("session_store_directory", "directory"),
            ("python", "Python"),
        ):
            value = getattr(self, name)
            if value is not None and (not value or "\0" in value):
                raise SettingsError(f"setting {name} is {value!r}; it must name a {kind}")
        for name in ("env_allow", "env_deny"):
            for pattern in getattr(self, name) or ():
                if not _VARIABLES.fullmatch(pattern):
                    raise SettingsError(
                        f"setting {name} has {pattern!r}; it must be a glob of variables' names"
                    )
        soft, hard = self.memory_soft_bytes, self.memory_hard_bytes
        if soft is not None and hard is not None and soft > hard:
            raise SettingsError(
                f"setting memory_soft_bytes is {soft}; it must not be over memory_hard_bytes,"
                f" which is {hard}"
            )
