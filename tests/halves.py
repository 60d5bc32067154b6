"""The half of a session that its app and its host know, for tests that look into these."""

from __future__ import annotations

from mpkernel import Session
from mpkernel.server.hosts.host import AppHost
from mpkernel.server.sessions.queued import QueuedSession

__all__ = ["host_of", "queued_of"]


def queued_of(session: Session) -> QueuedSession:
    """The half of the session that its app and its host know."""
    return session._queued


def host_of(session: Session) -> AppHost | None:
    """The host that the session is on; None while it waits for one."""
    host = queued_of(session).host
    assert host is None or isinstance(host, AppHost)
    return host
