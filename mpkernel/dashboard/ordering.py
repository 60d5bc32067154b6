"""Orders from a page: which orders there are, the question before one is given, and the name of the
user who gives it."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from typing import NamedTuple

from mpkernel.dashboard.looking import Look
from mpkernel.dashboard.views import View
from mpkernel.errors import MPKernelError
from mpkernel.server.operations.orders import Drain, Forget, Order, Restart, Stop, give_order

__all__ = ["Asked", "give", "orders_of", "who_asks"]

_NOBODY_IN_PARTICULAR = "user"
"""What marimo calls whoever has the token."""


class Asked(NamedTuple):
    """An order that waits for a yes.

    Attributes:
        server: the process id of the server that would get it.
        order: the order.
        does: what it does, for its button.
        question: what is asked before it is given.
    """

    server: int
    order: Order
    does: str
    question: str


def orders_of(view: View, who: str) -> list[Asked]:
    """The orders that a page offers.

    Args:
        view: what the page shows.
        who: who looks at it.
    """
    if view.app:
        name = os.path.basename(view.app)
        return [
            Asked(
                view.server,
                Restart(view.app, rolling=True, who=who),
                "Rolling restart",
                f"Restart {name}, one process after another? Each ends when a fresh one is ready;"
                " its sessions come back there, with their inputs.",
            ),
            Asked(
                view.server,
                Restart(view.app, who=who),
                "Restart at once",
                f"Restart all processes of {name} at once? Commands that run are lost; the"
                " sessions come back, with their inputs.",
            ),
            Asked(
                view.server,
                Drain(view.app, who=who),
                "Drain",
                f"Drain {name}? New sessions get a fresh process; those of today end with their"
                " last session.",
            ),
            Asked(
                view.server,
                Forget(view.app, who=who),
                "Forget",
                f"Forget the sessions of {name} that are stored on the disk and that no server"
                " has? They cannot come back.",
            ),
        ]
    if view.server:
        return [
            Asked(
                view.server,
                Stop(who=who),
                "Stop",
                f"Stop server {view.server}? It ends when the commands that run have ended; its"
                " pages are then gone.",
            )
        ]
    return []


def give(asked: Asked, seen: Look) -> str:
    """Give an order. Returns what became of it, in a sentence."""
    server = View(asked.server).server_in(seen)
    if server is None:
        return f"server {asked.server} has ended"
    try:
        answer = give_order(asked.order, server.published.path)
    except MPKernelError as error:
        return f"server {asked.server}: {error}"
    return f"server {asked.server}: {answer.text}"


def who_asks(user: object) -> str:
    """The name of the user of a page, for the logs of servers.

    Args:
        user: what the middleware that has let the page in says of its user; see
            `marimo.app_meta().request.user`.
    """
    if isinstance(user, Mapping) and user.get("is_authenticated"):
        name = str(user.get("username") or user.get("display_name") or "")
        if name and name != _NOBODY_IN_PARTICULAR:
            return f"{name} (dashboard)"
    return f"{_own_name()} (dashboard)"


def _own_name() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # the user has no name, as in many containers
        return f"user {os.getuid()}"
