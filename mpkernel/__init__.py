"""A process for every notebook app, a kernel thread for every client, and Pipes between.

The public names are loaded when they are first used: an app's process imports this package too,
and must not pay for the server's half.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mpkernel.client import PythonClient
    from mpkernel.errors import MPKernelError
    from mpkernel.marimo_backend.asgi import create_asgi_app
    from mpkernel.server.pool import HostPool
    from mpkernel.server.session import Session
    from mpkernel.settings import Settings
    from mpkernel.spec import KernelSpec
    from mpkernel.version import __version__
    from mpkernel.wire.frames import Channel, Message

__all__ = [
    "Channel",
    "HostPool",
    "KernelSpec",
    "MPKernelError",
    "Message",
    "PythonClient",
    "Session",
    "Settings",
    "__version__",
    "create_asgi_app",
]

_HOMES = {
    "Channel": "mpkernel.wire.frames",
    "HostPool": "mpkernel.server.pool",
    "KernelSpec": "mpkernel.spec",
    "MPKernelError": "mpkernel.errors",
    "Message": "mpkernel.wire.frames",
    "PythonClient": "mpkernel.client",
    "Session": "mpkernel.server.session",
    "Settings": "mpkernel.settings",
    "__version__": "mpkernel.version",
    "create_asgi_app": "mpkernel.marimo_backend.asgi",
}


def __getattr__(name: str) -> Any:
    try:
        home = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module 'mpkernel' has no attribute {name!r}") from None
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return sorted(__all__)
