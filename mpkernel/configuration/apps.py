"""`AppRule`: settings of some apps only, chosen by a glob of their paths."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from mpkernel.errors import SettingsError
from mpkernel.settings import POOL_WIDE, Settings

__all__ = ["AppRule", "settings_for"]


class AppRule(NamedTuple):
    """Settings that are different for the apps whose path matches.

    Attributes:
        path: a glob: "*", "?" and "[…]" stand for parts of one name, "**" for any number of
            folders. Relative to the current directory, where it is not absolute. A path matches as
            it is written, and with its symbolic links followed.
        changes: by name of a setting. None of `POOL_WIDE`.
    """

    path: str
    changes: Mapping[str, Any]

    def matches(self, app: str) -> bool:
        """Whether this is for an app.

        Args:
            app: the path of its file.
        """
        pattern = os.path.abspath(self.path).split(os.sep)
        folder, name = os.path.split(os.path.abspath(app))
        paths = {
            os.path.join(folder, name),
            os.path.join(os.path.realpath(folder), name),
            os.path.realpath(app),
        }
        return any(_matches(path.split(os.sep), pattern) for path in paths)

    def applied(self, settings: Settings) -> Settings:
        """The settings with these changes.

        Raises:
            SettingsError: one is unknown, belongs to the whole pool, or is impossible.
        """
        for name in self.changes:
            if name not in Settings.__struct_fields__:
                raise SettingsError(f"there is no setting {name}", remedy="mpkernel settings")
            if name in POOL_WIDE:
                raise SettingsError(
                    f"setting {name} is one of the whole server, no app has its own",
                    remedy="set it for all apps",
                )
        return msgspec.structs.replace(settings, **self.changes)


def settings_for(app: str, settings: Settings, rules: Sequence[AppRule]) -> Settings:
    """The settings of an app: `settings`, with the changes of the first rule that matches it.

    Raises:
        SettingsError: as `AppRule.applied`.
    """
    rule = next((rule for rule in rules if rule.matches(app)), None)
    return settings if rule is None else rule.applied(settings)


def _matches(names: list[str], pattern: list[str]) -> bool:
    if not pattern:
        return not names
    first, *rest = pattern
    if first == "**":
        return any(_matches(names[skipped:], rest) for skipped in range(len(names) + 1))
    return bool(names) and fnmatch.fnmatchcase(names[0], first) and _matches(names[1:], rest)
