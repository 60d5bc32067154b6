"""What `mpkernel restart`, `drain` and `stop` share: find the server, and send it the order."""

from __future__ import annotations

import argparse
import os
import pwd
import sys
import time
from collections.abc import Callable, Mapping, Sequence

import psutil

from mpkernel.cli.named_apps import of_app
from mpkernel.cli.output import as_json
from mpkernel.cli.parsers import CommandParser, similar, some_text
from mpkernel.errors import MPKernelError
from mpkernel.plain_text import plain
from mpkernel.server.operations.finding import PublishedServer, published_servers
from mpkernel.server.operations.orders import Order, Stop, give_order

__all__ = ["app_parser", "order_app", "stop_server", "this_user"]

_LOOK_AGAIN_S = 0.1
_SNAPSHOT_AGE_S = 1.5
"""An app that was opened a moment ago stands in the next snapshot."""


def app_parser(name: str, does: str, examples: Mapping[str, str]) -> CommandParser:
    """Of what follows a command that concerns an app.

    Args:
        name: the command's.
        does: what it does, for its help.
        examples: command lines, and what each does.
    """
    made = CommandParser(prog=f"mpkernel {name}", description=does, examples=examples)
    made.add_argument(
        "app", type=some_text, metavar="APP", help="its file: a path, or its name alone"
    )
    made.add_argument(
        "--server", type=int, metavar="PID", help="which server, if several have the app"
    )
    made.add_argument("--json", action="store_true", help="for programs (mpkernel docs commands)")
    return made


def order_app(command: str, given: argparse.Namespace, order: Callable[[str], Order]) -> int:
    """Give an order that concerns an app; give the exit code.

    Args:
        command: its name.
        given: what an `app_parser` has read.
        order: makes the order, from the path of the app's file.

    Raises:
        MPKernelError: no server, or more than one, has the app, or it does not answer.
    """
    deadline = time.monotonic() + _SNAPSHOT_AGE_S
    while not (found := _having(given.app, servers := _servers(given.server))):
        if time.monotonic() > deadline:
            known = {app.name for server in servers for app in server.snapshot.pool.apps}
            raise MPKernelError(
                f"no server has an app {given.app}{similar(os.path.basename(given.app), known)}",
                remedy="`mpkernel status` shows those that were opened",
            )
        time.sleep(_LOOK_AGAIN_S)
    if len(found) > 1:
        places = ", ".join(f"{path} of server {one.snapshot.pid}" for one, path in found)
        raise MPKernelError(
            f"{given.app} is more than one app: {places}", remedy="give a path, or --server PID"
        )
    [(server, path)] = found
    return _give(command, server, order(path), is_json=given.json)


def stop_server(command: str, given: argparse.Namespace) -> int:
    """Tell a server to stop, and wait until it has stopped; give the exit code.

    Args:
        command: its name.
        given: the `server`, the `timeout` in seconds, and whether to answer in `json`.

    Raises:
        MPKernelError: no server or several could be meant, or it does not answer, or does not stop
            in time.
    """
    server = _only(_servers(given.server), "run: give the PID of one")
    code = _give(command, server, Stop(who=this_user()), is_json=given.json)
    if code == os.EX_OK:
        _wait_gone(server, given.timeout)
        if not given.json:
            print(f"server {server.snapshot.pid} has stopped")
    return code


def this_user() -> str:
    """The name of the user who gives an order, for the server's log."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # the user has no name, as in many containers
        return f"user {os.getuid()}"


def _servers(pid: int | None) -> list[PublishedServer]:
    servers = published_servers()
    found = [server for server in servers if pid in (None, server.snapshot.pid)]
    if not found:
        which = "no server of this user runs" if pid is None else f"no server has the PID {pid}"
        raise MPKernelError(which, remedy="`mpkernel status` shows those that keep a snapshot")
    return found


def _having(name: str, servers: Sequence[PublishedServer]) -> list[tuple[PublishedServer, str]]:
    """The servers that have the app of this path, or else of this name, with the app's path."""
    apps = [(server, app.path) for server in servers for app in server.snapshot.pool.apps]
    return of_app(name, apps, lambda one: one[1])


def _only(servers: Sequence[PublishedServer], remedy: str) -> PublishedServer:
    if len(servers) > 1:
        pids = ", ".join(str(server.snapshot.pid) for server in servers)
        raise MPKernelError(f"servers {pids} {remedy}")
    return servers[0]


def _give(command: str, server: PublishedServer, order: Order, *, is_json: bool) -> int:
    pid = server.snapshot.pid
    if not server.snapshot.has_control:
        raise MPKernelError(
            f"server {pid} takes no orders: its setting control is false",
            remedy=f"kill -TERM {pid} stops it in order; start it without --no-control",
        )
    if server.is_stopped:
        raise MPKernelError(
            f"server {pid} is stopped, and answers nothing", remedy=f"kill -CONT {pid}"
        )
    try:
        answer = give_order(order, server.path)
    except MPKernelError as error:
        raise MPKernelError(f"server {pid}: {error.what}", remedy=error.remedy) from error
    if is_json:
        print(as_json(command, server=pid, done=answer.done, says=answer.text))
    else:
        print(f"server {pid}: {plain(answer.text)}", file=sys.stdout if answer.done else sys.stderr)
    return os.EX_OK if answer.done else 1


def _wait_gone(server: PublishedServer, timeout_s: float) -> None:
    """Wait until a server has stopped: its process has ended, or its pool is closed in a process
    that continues."""
    deadline = time.monotonic() + timeout_s
    while _is_there(server):
        if time.monotonic() > deadline:
            raise MPKernelError(
                f"server {server.snapshot.pid} has not stopped within {timeout_s:g} s",
                remedy="see its log; a second `mpkernel stop` does not make it faster, "
                f"kill -KILL {server.snapshot.pid} ends it at once",
            )
        time.sleep(_LOOK_AGAIN_S)


def _is_there(server: PublishedServer) -> bool:
    if not server.path.exists():
        return False
    try:
        process = server.process
        return process is None or (
            process.is_running() and process.status() != psutil.STATUS_ZOMBIE
        )
    except psutil.NoSuchProcess:
        return False
