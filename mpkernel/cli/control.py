"""What `mpkernel restart`, `drain` and `stop` share: find the server, and send it the order."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence

import psutil

from mpkernel.errors import MPKernelError
from mpkernel.server.operations.finding import PublishedServer, published_servers
from mpkernel.server.operations.orders import Order, Stop, give_order

__all__ = ["order_app", "stop_server"]

_LOOK_AGAIN_S = 0.1
_SNAPSHOT_AGE_S = 1.5
"""An app that was opened a moment ago stands in the next snapshot."""


def order_app(
    name: str,
    does: str,
    order: Callable[[str, argparse.Namespace], Order],
    arguments: Sequence[str],
    add_flags: Callable[[argparse.ArgumentParser], None],
) -> int:
    """Give an order that concerns an app; give the exit code.

    Args:
        name: the command's.
        does: what it does, for its help.
        order: makes it, from the path of the app's file and the parsed arguments.
        arguments: what follows the command.
        add_flags: adds the flags that this command alone has.

    Raises:
        MPKernelError: no server, or more than one, has the app, or it does not answer.
    """
    parser = argparse.ArgumentParser(prog=f"mpkernel {name}", description=does)
    parser.add_argument("app", metavar="APP", help="its file: a path, or its name alone")
    parser.add_argument(
        "--server", type=int, metavar="PID", help="which server, if several have the app"
    )
    add_flags(parser)
    given = parser.parse_args(arguments)
    deadline = time.monotonic() + _SNAPSHOT_AGE_S
    while not (found := _having(given.app, _servers(given.server))):
        if time.monotonic() > deadline:
            raise MPKernelError(
                f"no server has an app {given.app}",
                remedy="`mpkernel status` shows those that were opened",
            )
        time.sleep(_LOOK_AGAIN_S)
    if len(found) > 1:
        places = ", ".join(f"{path} of server {one.snapshot.pid}" for one, path in found)
        raise MPKernelError(
            f"{given.app} is more than one app: {places}", remedy="give a path, or --server PID"
        )
    [(server, path)] = found
    return _give(server, order(path, given))


def stop_server(name: str, does: str, arguments: Sequence[str]) -> int:
    """Tell a server to stop, and wait until it has stopped; give the exit code.

    Args:
        name, does, arguments: as `order_app`.

    Raises:
        MPKernelError: no server or several could be meant, or it does not answer, or does not stop
            in time.
    """
    parser = argparse.ArgumentParser(prog=f"mpkernel {name}", description=does)
    parser.add_argument(
        "server", type=int, nargs="?", metavar="PID", help="which server, if there are several"
    )
    parser.add_argument(
        "--timeout", type=float, default=60.0, metavar="S", help="how long to wait; default 60"
    )
    given = parser.parse_args(arguments)
    server = _only(_servers(given.server), "run: give the PID of one")
    code = _give(server, Stop())
    if code == os.EX_OK:
        _wait_gone(server, given.timeout)
    return code


def _servers(pid: int | None) -> list[PublishedServer]:
    servers = published_servers()
    found = [server for server in servers if pid in (None, server.snapshot.pid)]
    if not found:
        which = "no server of this user runs" if pid is None else f"no server has the PID {pid}"
        raise MPKernelError(which, remedy="`mpkernel status` shows those that keep a snapshot")
    return found


def _having(name: str, servers: Sequence[PublishedServer]) -> list[tuple[PublishedServer, str]]:
    """The servers that have the app of this path, or else of this name, with the app's path."""
    apps = [(server, app) for server in servers for app in server.snapshot.pool.apps]
    path = os.path.abspath(name)
    return [(server, app.path) for server, app in apps if app.path == path] or [
        (server, app.path) for server, app in apps if app.name == name
    ]


def _only(servers: Sequence[PublishedServer], remedy: str) -> PublishedServer:
    if len(servers) > 1:
        pids = ", ".join(str(server.snapshot.pid) for server in servers)
        raise MPKernelError(f"servers {pids} {remedy}")
    return servers[0]


def _give(server: PublishedServer, order: Order) -> int:
    pid = server.snapshot.pid
    if not server.snapshot.has_control:
        raise MPKernelError(
            f"server {pid} takes no orders", remedy="it was started without its control socket"
        )
    if server.is_stopped:
        raise MPKernelError(
            f"server {pid} is stopped, and answers nothing", remedy=f"kill -CONT {pid}"
        )
    try:
        answer = give_order(order, server.path)
    except MPKernelError as error:
        raise MPKernelError(f"server {pid}: {error.what}", remedy=error.remedy) from error
    print(f"server {pid}: {answer.text}", file=sys.stdout if answer.done else sys.stderr)
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
