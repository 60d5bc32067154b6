"""`View`: what a page shows: all servers, one server, or one app. The URL says which, so it can be
kept and sent to others.

?                            all servers
?server=4711                 one server
?server=4711&app=/a/b.py     one of its apps
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlencode

from mpkernel.dashboard.looking import Look, SeenServer
from mpkernel.server.operations.snapshot import AppSnapshot

__all__ = ["View", "view_of"]


class View(NamedTuple):
    """What a page shows.

    Attributes:
        server: the process id of the server; 0 for all servers.
        app: absolute path of the app's file; "" for all apps.
    """

    server: int = 0
    app: str = ""

    @property
    def url(self) -> str:
        """The URL of such a page, relative to that of another one."""
        query = {"server": self.server, "app": self.app}
        return "?" + urlencode({name: value for name, value in query.items() if value})

    def server_in(self, seen: Look) -> SeenServer | None:
        """The server that is shown; None if it has ended, or if all are shown."""
        return next(
            (one for one in seen.servers if one.published.snapshot.pid == self.server), None
        )

    def app_in(self, seen: Look) -> AppSnapshot | None:
        """The app that is shown; None if the server has it no more, or if all are shown."""
        server = self.server_in(seen)
        if server is None:
            return None
        apps = server.published.snapshot.pool.apps
        return next((one for one in apps if one.path == self.app), None)


def view_of(query: Mapping[str, object]) -> View:
    """What the page of this query shows."""
    server = str(query.get("server", ""))
    app = str(query.get("app", ""))
    return View(int(server), app) if server.isdecimal() else View()
