"""`AppTable`: a pool's apps by their files: made when first asked for, forgotten when idle."""

from __future__ import annotations

import difflib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from mpkernel.configuration.apps import AppRule, settings_for
from mpkernel.errors import AppNotFound
from mpkernel.reaching import HOW_TO_REACH, why_unreachable
from mpkernel.server.apps.app import App
from mpkernel.server.supervision.tallies import AppTotals
from mpkernel.settings import Settings

__all__ = ["AppTable"]

_KEPT_APPS = 64


class AppTable:
    """One pool's. On the loop's thread.

    Args:
        settings: the pool's.
        rules: what is different for some apps: the first that matches an app counts.
        make: makes the app of this absolute path, with these settings.

    Attributes:
        forgotten: the counts of all apps that were removed from `apps`, summed.
    """

    def __init__(
        self,
        settings: Settings,
        rules: Sequence[AppRule],
        make: Callable[[str, Settings], App],
    ) -> None:
        self._settings = settings
        self._rules = tuple(rules)
        self._make = make
        self._apps: dict[str, App] = {}
        self._held: Counter[App] = Counter()  # how many hold each of them
        self._most_apps = _KEPT_APPS  # with more, those that are idle are forgotten
        self.forgotten = AppTotals.sum(())

    @property
    def apps(self) -> list[App]:
        """The apps that were asked for and are not forgotten, the oldest first."""
        return list(self._apps.values())

    def app(self, app: str | os.PathLike[str]) -> App:
        """The app of this file.

        Raises:
            AppNotFound: there is no such file, and the app has no process.
            SettingsError: as `settings_of`.
        """
        path = _path_of(app)
        found = self._apps.get(path)
        if found is not None and found.hosts:
            return found
        if not os.path.exists(path) or os.path.isdir(path):
            raise _not_found(path)
        if found is None:
            self._forget_idle_apps()
            found = self._apps[path] = self._make(path, self.settings_of(path))
        return found

    @contextmanager
    def holding(self, app: App) -> Iterator[None]:
        """In this `with`, the app is not forgotten: a session of it is about to be opened."""
        self._held[app] += 1
        try:
            yield
        finally:
            self._held[app] -= 1
            if not self._held[app]:
                del self._held[app]

    def settings_of(self, app: str | os.PathLike[str]) -> Settings:
        """The settings of an app.

        Raises:
            AppNotFound: no file can have this path.
            SettingsError: a rule for it names a setting that no app has, or an impossible value.
        """
        return settings_for(_path_of(app), self._settings, self._rules)

    def _forget_idle_apps(self) -> None:
        """A server to which new notebooks are added for years must not keep them all in memory."""
        if len(self._apps) < self._most_apps:
            return
        idle = [app for app in self._apps.values() if app.is_idle and app not in self._held]
        totals = (app.tallies.totals((), outstanding_bytes=0) for app in idle)
        self.forgotten = AppTotals.sum((self.forgotten, *totals))
        for app in idle:
            del self._apps[app.path]
        self._most_apps = max(_KEPT_APPS, 2 * len(self._apps))


def _path_of(app: str | os.PathLike[str]) -> str:
    """The absolute path of a file, which may also be given as bytes.

    Raises:
        AppNotFound: no file can have it, or no message can carry it.
    """
    path = os.path.abspath(os.fsdecode(app))
    if "\0" in path:
        raise AppNotFound(f"the path {path!r} has a NUL in it", remedy="check the path")
    try:
        path.encode()
    except UnicodeEncodeError:
        raise AppNotFound(f"the path {path!r} is not UTF-8", remedy="rename it") from None
    return path


def _not_found(path: str) -> AppNotFound:
    """The error for a path at which there is no file. It names the file that was probably meant."""
    if os.path.isdir(path):
        return AppNotFound(
            f"{path} is a folder, and an app is a file", remedy="name a Python file in it"
        )
    if reason := why_unreachable(path):
        return AppNotFound(f"the app {path} cannot be reached: {reason}", remedy=HOW_TO_REACH)
    folder, name = os.path.split(path)
    try:
        close = difflib.get_close_matches(name, os.listdir(folder), n=1)
    except OSError:
        return AppNotFound(f"there is no app at {path}", remedy=f"there is no folder {folder}")
    meant = f"did you mean {close[0]}? " if close else ""
    return AppNotFound(
        f"there is no app at {path}",
        remedy=f"{meant}A relative path begins at the current folder; one beside your own file is"
        " Path(__file__).with_name('app.py')",
    )
