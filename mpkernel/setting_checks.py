"""Which values a setting can have, beside its type: `Settings` calls `check` for each of them.

Every error names the setting and its value, and says what the value must be.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable
from typing import Any

from mpkernel.errors import SettingsError
from mpkernel.wire.bounds import LEAST_FRAME_BYTES, MOST_FRAME_BYTES

__all__ = ["check", "check_order"]

_MOST = 2**53
"""The largest value of any setting: every timer and counter can hold it."""
_VARIABLES = re.compile(r"([^\s=,\0\[\]]|\[[^\s=,\0\]]+\])+")
"""A glob of variables' names: it has no blanks and no "=", and every bracket in it is closed."""

_CLUSTER = re.compile(r"(tcp|tls)://[^\s/]+|local:[1-9]\d{0,3}")
_RESOURCE = re.compile(r"[^\s=,\0]+(=\d+(\.\d+)?)?")

_OVER_0 = frozenset(
    {
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
        "cluster_silence_s",
        "cluster_upload_bytes",
        "metrics_interval_s",
    }
)
"""The settings that must not be 0. No setting can be negative."""


def check(name: str, value: Any) -> None:
    """Check one setting on its own.

    Args:
        name: of the setting.
        value: one of the setting's type.

    Raises:
        SettingsError: the setting cannot have this value.
    """
    if value is None:
        return
    if isinstance(value, float | int):
        _check_number(name, value)
    if name in _CHECKS:
        _CHECKS[name](name, value)


def check_order(low_name: str, low: float | None, high_name: str, high: float | None) -> None:
    """Check that one setting is not over another one; None is no bound.

    Raises:
        SettingsError: it is.
    """
    if low is not None and high is not None and low > high:
        raise SettingsError(
            f"setting {low_name} is {low}; it must not be over {high_name}, which is {high}"
        )


def _check_number(name: str, value: float) -> None:
    if not abs(value) <= _MOST:  # rejects NaN, too
        raise SettingsError(f"setting {name} is {value}; it must be a number up to {_MOST}")
    if value < 0:
        raise SettingsError(f"setting {name} is {value}; it must not be negative")
    if value == 0 and name in _OVER_0:
        raise SettingsError(f"setting {name} is {value}; it must be over 0")


def _check_frame_bytes(name: str, value: int) -> None:
    if not LEAST_FRAME_BYTES <= value <= MOST_FRAME_BYTES:
        raise SettingsError(
            f"setting {name} is {value}; it must be from {LEAST_FRAME_BYTES} to {MOST_FRAME_BYTES}"
        )


def _path_of(what: str) -> Callable[[str, str], None]:
    def check_path(name: str, value: str) -> None:
        if not value or "\0" in value:
            raise SettingsError(f"setting {name} is {value!r}; it must be the path of {what}")

    return check_path


def _check_command(name: str, value: str) -> None:
    try:
        is_command = bool(shlex.split(value)) and "\0" not in value
    except ValueError:  # a quotation mark is not closed
        is_command = False
    if not is_command:
        raise SettingsError(
            f"setting {name} is {value!r}; it must be a command, with its words as for a shell"
        )


def _check_variables(name: str, value: tuple[str, ...]) -> None:
    for pattern in value:
        if not _VARIABLES.fullmatch(pattern):
            raise SettingsError(
                f"setting {name} has {pattern!r}; it must be a glob of variables' names"
            )


def _check_absolute_paths(name: str, value: tuple[str, ...]) -> None:
    for path in value:
        if "\0" in path or not os.path.isabs(os.path.expanduser(path)):
            raise SettingsError(
                f"setting {name} has {path!r}; it must be an absolute path, or begin with '~'"
            )


def _check_ports(name: str, value: tuple[int, ...]) -> None:
    for port in value:
        if not 0 < port < 2**16:
            raise SettingsError(f"setting {name} has {port}; it must be a port from 1 to 65535")


def _check_cluster(name: str, value: str) -> None:
    if not _CLUSTER.fullmatch(value):
        raise SettingsError(
            f"setting {name} is {value!r}; it must be the address of a scheduler, as"
            " tls://host:8786, or local:4"
        )


def _check_resources(name: str, value: tuple[str, ...]) -> None:
    for resource in value:
        if not _RESOURCE.fullmatch(resource):
            raise SettingsError(
                f"setting {name} has {resource!r}; it must be a name and how much of it, as GPU=1"
            )


_CHECKS: dict[str, Callable[[str, Any], None]] = {
    "max_frame_bytes": _check_frame_bytes,
    "metrics_file": _path_of("a file"),
    "session_store_directory": _path_of("a directory"),
    "python": _path_of("a Python"),
    "launch_wrapper": _check_command,
    "env_allow": _check_variables,
    "env_deny": _check_variables,
    "confine_read": _check_absolute_paths,
    "confine_write": _check_absolute_paths,
    "confine_connect": _check_ports,
    "cluster": _check_cluster,
    "cluster_resources": _check_resources,
}
"""By the setting's name, what its value must be beside a number in its bounds."""
