"""`Settings`: every figure that can be set, with its unit in its name and its default here."""

from __future__ import annotations

from typing import Literal

import msgspec

from mpkernel.errors import SettingsError
from mpkernel.wire.frames import MAX_FRAME_BYTES

__all__ = ["Settings"]

_MIB = 1024 * 1024


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How a `HostPool` behaves.

    Attributes:
        start_timeout_s: how long an app's process may take until it is ready. Default 60.
        stop_grace_s: how long a process that was asked to leave may take before it is killed.
            Default 1.
        idle_retire_s: how long a process stays after its last session ended. Default 5; 0 retires
            it at once, None never.
        window_bytes: per session and direction, how much may be sent and not yet taken. Default
            8 MiB.
        host_window_bytes: the same for all sessions of a host together, on the way up. Default
            64 MiB.
        backlog_bytes: per host, how much that its Pipe does not take is kept in the server before
            a send is refused. Default 64 MiB.
        max_frame_bytes: the largest message. Default 256 MiB.
        relay_console: whether what an app's process writes to its descriptors 1 and 2 is written
            to the server's, each line with the app's name before it. Default True.
        file_storage: where apps keep virtual files: "shared_memory" (default), "temp_file", or
            None: not at all, files are data URLs.
        file_fallback: what steps in when shared memory is full or cannot be had: "temp_file"
            (default), or None: the app gets the error.
        session_files_bytes: how much one session may keep in virtual files. Default None: no bound.
        files_bytes: the same for all sessions of the pool together. Default None: no bound.
        recycled_files_bytes: per host, how much freed shared memory is kept to be used again.
            Default 64 MiB.
        recycled_files_age_s: how long it is kept. Default 30.

    Raises:
        SettingsError: a value is impossible.
    """

    start_timeout_s: float = 60.0
    stop_grace_s: float = 1.0
    idle_retire_s: float | None = 5.0
    window_bytes: int = 8 * _MIB
    host_window_bytes: int = 64 * _MIB
    backlog_bytes: int = 64 * _MIB
    max_frame_bytes: int = MAX_FRAME_BYTES
    relay_console: bool = True
    file_storage: Literal["shared_memory", "temp_file"] | None = "shared_memory"
    file_fallback: Literal["temp_file"] | None = "temp_file"
    session_files_bytes: int | None = None
    files_bytes: int | None = None
    recycled_files_bytes: int = 64 * _MIB
    recycled_files_age_s: float = 30.0

    def __post_init__(self) -> None:
        for name in ("start_timeout_s", "window_bytes", "host_window_bytes", "backlog_bytes"):
            if getattr(self, name) <= 0:
                raise SettingsError(f"setting {name} is {getattr(self, name)}; it must be over 0")
        for name, choices in (
            ("file_storage", ("shared_memory", "temp_file", None)),
            ("file_fallback", ("temp_file", None)),
        ):
            if getattr(self, name) not in choices:
                raise SettingsError(
                    f"setting {name} is {getattr(self, name)!r}; it must be one of {choices}"
                )
        for name in (
            "stop_grace_s",
            "idle_retire_s",
            "session_files_bytes",
            "files_bytes",
            "recycled_files_bytes",
            "recycled_files_age_s",
        ):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise SettingsError(f"setting {name} is {value}; it must not be negative")
        if not 64 <= self.max_frame_bytes <= 0x7FFF_FFFF:
            raise SettingsError(
                f"setting max_frame_bytes is {self.max_frame_bytes}; 64 to 2147483647 are possible"
            )
