"""A process for every notebook app, a kernel thread for every client, and Pipes between them and
their server.

The public names are loaded when they are first used: an app's process imports this package too, and
does not need the server's half.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mpkernel.client import PythonClient
    from mpkernel.configuration.apps import AppRule
    from mpkernel.dashboard.serving import create_dashboard_app
    from mpkernel.dask_backend.launcher import DaskLauncher as DaskLauncher
    from mpkernel.errors import MPKernelError
    from mpkernel.host.kernel import Kernel
    from mpkernel.json_lines import JsonFormatter
    from mpkernel.kernel.messages import (
        Completions,
        Console,
        Done,
        Failure,
        Figure,
        InputRequest,
        InterruptPending,
        Outputs,
        Progress,
        Restarted,
        Status,
    )
    from mpkernel.marimo_backend.asgi import create_asgi_app as create_asgi_app
    from mpkernel.server.pool import HostPool
    from mpkernel.server.sessions.journal import Journal, Rebuilt
    from mpkernel.server.sessions.session import Session
    from mpkernel.server.supervision.deaths import Death
    from mpkernel.settings import Settings
    from mpkernel.spec import KernelSpec
    from mpkernel.version import __version__
    from mpkernel.wire.frames import Channel, Message

__all__ = [
    "AppRule",
    "Channel",
    "Completions",
    "Console",
    "Death",
    "Done",
    "Failure",
    "Figure",
    "HostPool",
    "InputRequest",
    "InterruptPending",
    "Journal",
    "JsonFormatter",
    "Kernel",
    "KernelSpec",
    "MPKernelError",
    "Message",
    "Outputs",
    "Progress",
    "PythonClient",
    "Rebuilt",
    "Restarted",
    "Session",
    "Settings",
    "Status",
    "__version__",
    "create_dashboard_app",
]

_HOMES = {
    "AppRule": "mpkernel.configuration.apps",
    "Channel": "mpkernel.wire.frames",
    "Completions": "mpkernel.kernel.messages",
    "Console": "mpkernel.kernel.messages",
    "DaskLauncher": "mpkernel.dask_backend.launcher",
    "Death": "mpkernel.server.supervision.deaths",
    "Done": "mpkernel.kernel.messages",
    "Failure": "mpkernel.kernel.messages",
    "Figure": "mpkernel.kernel.messages",
    "HostPool": "mpkernel.server.pool",
    "InputRequest": "mpkernel.kernel.messages",
    "InterruptPending": "mpkernel.kernel.messages",
    "Journal": "mpkernel.server.sessions.journal",
    "JsonFormatter": "mpkernel.json_lines",
    "Kernel": "mpkernel.host.kernel",
    "KernelSpec": "mpkernel.spec",
    "MPKernelError": "mpkernel.errors",
    "Message": "mpkernel.wire.frames",
    "Outputs": "mpkernel.kernel.messages",
    "Progress": "mpkernel.kernel.messages",
    "PythonClient": "mpkernel.client",
    "Rebuilt": "mpkernel.server.sessions.journal",
    "Restarted": "mpkernel.kernel.messages",
    "Session": "mpkernel.server.sessions.session",
    "Settings": "mpkernel.settings",
    "Status": "mpkernel.kernel.messages",
    "__version__": "mpkernel.version",
    "create_asgi_app": "mpkernel.marimo_backend.asgi",
    "create_dashboard_app": "mpkernel.dashboard.serving",
}

_EXTRAS = {
    "DaskLauncher": "Dask (pip install 'mpkernel[dask]')",
    "create_asgi_app": "marimo (pip install 'mpkernel[marimo]')",
}
"""The public names that cannot be loaded without an extra, and what each of them needs. They are
not in `__all__`, so that `from mpkernel import *` works in every installation."""


def __getattr__(name: str) -> Any:
    try:
        home = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module 'mpkernel' has no attribute {name!r}") from None
    try:
        return getattr(importlib.import_module(home), name)
    except ModuleNotFoundError as error:
        if name in _EXTRAS:
            raise ImportError(
                f"mpkernel.{name} needs {_EXTRAS[name]}: {error}", name=error.name
            ) from error
        raise


def __dir__() -> list[str]:
    return sorted(_HOMES)
