"""Carries out an order that concerns one app."""

from __future__ import annotations

from pathlib import Path

from mpkernel.server.apps.app import App
from mpkernel.server.operations.orders import Answer
from mpkernel.server.store.listing import forget as forget_stored
from mpkernel.server.store.listing import stored_in

__all__ = ["drain", "forget", "no_such_process", "restart"]


def restart(app: App, pid: int | None, *, rolling: bool) -> Answer:
    """End the processes of an app, or the one of this pid; see `Restart`."""
    affected = _affected(app, pid)
    if rolling and pid is None and app.hosts:
        app.restart_rolling()
        return Answer(True, f"{app.name} restarts one process after another: {affected}")
    had_process = bool(app.hosts)
    app.restart(pid)
    if not had_process:
        return Answer(True, f"{app.name} has no process; one may start now")
    return Answer(True, f"{app.name} restarts: {affected}")


def drain(app: App, pid: int | None) -> Answer:
    """Give new sessions of an app fresh processes; see `Drain`."""
    if not app.hosts:
        return Answer(True, f"{app.name} has no process")
    affected = _affected(app, pid)
    app.replace(pid)
    where = "a fresh process" if pid is None else "another process"
    return Answer(True, f"{app.name} drains: {affected}; new sessions get {where}")


def no_such_process(app: App, pid: int) -> str:
    """The answer to an order for a process that the app does not have."""
    what = f"{app.name} has no process {pid}"
    for host in app.hosts:
        if host.pid_on_worker == pid:
            what += f"; that is its id on worker {host.worker}, here it is process {host.pid}"
    return what


def forget(directory: Path, app: str) -> Answer:
    """Remove what is stored of an app's sessions; see `Forget`. Blocks: not on the loop's thread.

    Args:
        directory: where the server stores sessions.
        app: absolute path of the app's file.
    """
    try:
        gone, live = forget_stored(one for one in stored_in(directory) if one.app == app)
    except OSError as error:
        return Answer(False, f"the sessions that are stored cannot be removed: {error}")
    says = f"{_many(len(gone), 'stored session')} forgotten"
    return Answer(True, f"{says}; {len(live)} live, and stay" if live else says)


def _affected(app: App, pid: int | None) -> str:
    hosts = [host for host in app.hosts if pid in (None, host.pid)]
    sessions = sum(host.session_count for host in hosts)
    which = _many(len(hosts), "process") if pid is None else f"process {pid}"
    return f"{which}, {_many(sessions, 'session')}"


def _many(count: int, noun: str) -> str:
    plural = noun + ("es" if noun.endswith("s") else "s")
    return f"{count} {noun if count == 1 else plural}"
