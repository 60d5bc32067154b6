"""`SettingsFile`: `[tool.mpkernel]` of a TOML file, and which file that is.

    [tool.mpkernel]
    memory_hard_bytes = "2GiB"

    [[tool.mpkernel.apps]]
    path = "reports/**"           # relative to the file's folder
    ping_timeout_s = 600

The content of the file is checked here; an error names the file and the key. A file that was found
by searching, not named by the user, is used only if it belongs to the user or to root: in a folder
above the notebooks, such as `/tmp`, anybody may have put it there.
"""

from __future__ import annotations

import functools
import glob
import logging
import os
import stat
import tomllib
from typing import Any

import msgspec

from mpkernel.configuration.apps import AppRule
from mpkernel.configuration.names import unknown
from mpkernel.configuration.values import expected, from_toml, is_setting
from mpkernel.errors import SettingsError
from mpkernel.settings import POOL_WIDE

__all__ = ["SettingsFile", "find_settings_file", "read_settings_file"]

logger = logging.getLogger(__name__)

_NAME = "pyproject.toml"
_TABLE = "[tool.mpkernel]"
_APPS = "apps"
_REMEDY = "correct the file, or name another with --settings or MPKERNEL_SETTINGS"

_pipes: dict[tuple[int, int] | None, bytes] = {}
"""What was read from each pipe, by the numbers of its device and inode."""


class SettingsFile(msgspec.Struct, frozen=True):
    """What a file sets.

    Attributes:
        path: the file.
        values: by name of a setting.
        rules: of its `[[tool.mpkernel.apps]]`, with absolute paths.
    """

    path: str
    values: dict[str, Any]
    rules: tuple[AppRule, ...]


def find_settings_file(folder: str) -> SettingsFile | None:
    """The nearest `pyproject.toml` with a `[tool.mpkernel]`, from a folder upward. A file that
    belongs to another user is skipped, with a warning.

    Raises:
        SettingsError: one on the way cannot be read, or what it sets is wrong.
    """
    place = os.path.realpath(folder)
    while True:
        path = os.path.join(place, _NAME)
        if os.path.lexists(path) and _is_trusted(path):
            table = _table_of(path)
            if table is not None:
                return _checked(path, table)
        above = os.path.dirname(place)
        if above == place:
            return None
        place = above


def read_settings_file(path: str) -> SettingsFile:
    """The file that somebody named.

    Raises:
        SettingsError: it cannot be read, has no `[tool.mpkernel]`, or what it sets is wrong.
    """
    given, path = path, os.path.realpath(path)
    # A pipe, such as /dev/stdin or what <(…) of a shell gives, has no other path than the given.
    table = _table_of(path, at=given)
    if table is None:
        raise SettingsError(f"{path} has no {_TABLE}", remedy=f"begin its settings with {_TABLE}")
    return _checked(path, table)


def _is_trusted(path: str) -> bool:
    try:
        owners = {os.lstat(path).st_uid, os.stat(path).st_uid}
    except OSError:
        return True  # `_table_of` reports later why it cannot be read
    others = owners - {0, os.geteuid()}
    for owner in others:
        _warn_of(path, owner)
    return not others


@functools.cache
def _warn_of(path: str, owner: int) -> None:
    logger.warning(
        "%s is not used: it belongs to another user (uid %d); to use it all the same, name it with"
        " --settings or MPKERNEL_SETTINGS",
        path,
        owner,
    )


def _table_of(path: str, *, at: str | None = None) -> Any:
    try:
        tool = tomllib.loads(_content_of(path if at is None else at).decode()).get("tool")
    except (OSError, ValueError, RecursionError) as error:  # no TOML, or more than Python reads
        reason = error.strerror if isinstance(error, OSError) else error
        raise SettingsError(f"{path} cannot be read: {reason}", remedy=_REMEDY) from error
    return tool.get("mpkernel") if isinstance(tool, dict) else None


def _content_of(path: str) -> bytes:
    """The content of a file. That of a pipe can be read once, and the settings are read twice: by
    the command, and by the server that it starts. So it is kept."""
    found = os.stat(path)
    pipe = (found.st_dev, found.st_ino) if stat.S_ISFIFO(found.st_mode) else None
    if pipe in _pipes:
        return _pipes[pipe]
    with open(path, "rb") as file:
        content = file.read()
    if pipe is not None:
        _pipes[pipe] = content
    return content


def _checked(path: str, table: Any) -> SettingsFile:
    if not isinstance(table, dict):
        raise SettingsError(f"{path}: tool.mpkernel is not a table", remedy=f"write {_TABLE}")
    entries = table.get(_APPS, [])
    values = _values(f"{path} {_TABLE}", {k: v for k, v in table.items() if k != _APPS})
    if not isinstance(entries, list):
        raise SettingsError(
            f"{path} {_TABLE}: {_APPS} is not an array of tables",
            remedy=f"write [[tool.mpkernel.{_APPS}]] above each",
        )
    rules = (_rule(path, number, entry) for number, entry in enumerate(entries, start=1))
    return SettingsFile(path, values, tuple(rules))


def _rule(path: str, number: int, entry: Any) -> AppRule:
    place = f"{path} [[tool.mpkernel.{_APPS}]] number {number}"
    pattern = entry.get("path") if isinstance(entry, dict) else None
    if not isinstance(pattern, str) or not pattern:
        raise SettingsError(
            f"{place} does not say for which apps it is", remedy='give it a path = "reports/**"'
        )
    place += f" ({pattern})"
    values = _values(place, {key: value for key, value in entry.items() if key != "path"})
    for name in POOL_WIDE & values.keys():
        raise SettingsError(
            f"{place}: {name} is a setting of the whole server; no app can have its own",
            remedy=f"move it to {_TABLE}",
        )
    return AppRule(os.path.join(glob.escape(os.path.dirname(path)), pattern), values)


def _values(place: str, table: dict[str, Any]) -> dict[str, Any]:
    values = {}
    for name, value in table.items():
        if not is_setting(name):
            raise unknown(f"{place}: {name}", name)
        try:
            values[name] = from_toml(name, value)
        except ValueError as error:
            raise SettingsError(
                f"{place}: {name} is {value!r}", remedy=f"it takes {expected(name)}"
            ) from error
    return values
