"""Every exception that mpkernel raises to its callers, each with what to do about it.

All of them derive from `MPKernelError`. A message names the thing (app, session, pid), and says
what happened and what the reader can do. `remedy` holds only what the reader can do, for tools that
show it separately.
"""

from __future__ import annotations

from mpkernel.plain_text import encodable

__all__ = [
    "AppNotFound",
    "AppUnavailable",
    "ClusterError",
    "ConfinementError",
    "HostDied",
    "HostStartError",
    "HostUnresponsive",
    "KernelFailed",
    "MPKernelError",
    "PoolClosed",
    "ProtocolError",
    "SandboxError",
    "SessionClosed",
    "SessionNameTaken",
    "SettingsError",
    "UnfitPython",
    "UnsupportedMarimo",
]


class MPKernelError(Exception):
    """The root of mpkernel's exceptions. Their texts can always be encoded, to be logged or sent to
    a page: bytes of a path that are no UTF-8 are written as escapes.

    Args:
        what: what happened, naming the thing it happened to.
        remedy: what the reader can do about it; empty if there is nothing to do.
    """

    def __init__(self, what: str, *, remedy: str = "") -> None:
        self.what = encodable(what)
        self.remedy = encodable(remedy)
        super().__init__(f"{self.what} ({self.remedy})" if remedy else self.what)


class ProtocolError(MPKernelError):
    """A peer sent bytes that are not a frame, or a frame that is not a message. It is ended."""


class PoolClosed(MPKernelError):
    """A closed `HostPool` was asked for something. Open a new pool."""


class AppNotFound(MPKernelError):
    """The path of an app names no file. Check the path."""


class AppUnavailable(MPKernelError):
    """An app takes no new sessions for now: it died too often, or is short of memory. The message
    says why and when to try again."""


class HostStartError(MPKernelError):
    """An app's process could not be launched, or was not ready in time. See its last output."""


class ConfinementError(HostStartError):
    """An app's process could not be confined as the setting `confine` says, and was ended before it
    read the app. The message says what the system lacks."""


class ClusterError(HostStartError):
    """No worker of the cluster could run an app's process. The message names the worker, or what no
    worker has."""


class SandboxError(HostStartError):
    """The environment that an app's header names could not be made. The message has the words of
    the header's reader, or of uv."""


class UnfitPython(HostStartError):
    """The Python that is named for an app cannot run it: it is not a Python, or does not have the
    version or the packages that the server needs there. The message says what to install, or to
    name."""


class HostDied(MPKernelError):
    """An app's process ended while sessions were on it. Open the session again."""


class HostUnresponsive(MPKernelError):
    """An app's process takes no input, and its backlog is full. Or there is no process, and no more
    can be kept for the next one. Wait, or restart the app."""


class SessionClosed(MPKernelError):
    """A session that is closed was used. Open a new one."""


class SessionNameTaken(MPKernelError):
    """Another session of the same app has this name, and is still open. Close that one first, or
    choose another name."""


class KernelFailed(MPKernelError):
    """A session's kernel ended with an exception of its own. Its traceback is in the message."""


class SettingsError(MPKernelError):
    """A setting has an unknown name or an impossible value. The message names the place."""


class UnsupportedMarimo(MPKernelError):
    """marimo is not installed, or its version is outside the range that mpkernel supports."""
