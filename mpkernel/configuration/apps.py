"""`AppRule`: settings of some apps only, which a glob of their paths chooses."""

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
            folders. If it is not absolute, it is relative to the current directory. It matches an
            app if it matches the app's path as it is written, or the path to which the symbolic
            links in it lead.
        changes: the values that these apps have, by the names of the settings. The settings in
            `settings.POOL_WIDE` belong to the whole pool and cannot be changed here.
    """

    path: str
    changes: Mapping[str, Any]

    def matches(self, app: str) -> bool:
        """Whether this rule is for an app.

        Args:
            app: the path of the app's file.
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
            SettingsError: a name is not a setting's, or that of a setting of the whole pool; or a
                value is impossible.
        """
        for name in self.changes:
            if name not in Settings.__struct_fields__:
                raise SettingsError(
                    f"there is no setting {name}", remedy="`mpkernel settings` shows all"
                )
            if name in POOL_WIDE:
                raise SettingsError(
                    f"{name} is a setting of the whole server; no app can have its own",
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
