"""Every name of marimo that mpkernel touches, and the versions in which it was read.

None of these are public. A test looks each of them up, so that it is this file that breaks when
marimo moves one. The functions import late: a server needs one half of them, a host the other, and
neither may import anything that imports zmq.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import re
from collections.abc import Callable
from typing import Any

from mpkernel.errors import UnsupportedMarimo

__all__ = [
    "HOST_NAMES",
    "LATE_MODULES",
    "SERVER_NAMES",
    "SUPPORTED",
    "check_marimo",
    "host",
    "server",
]

SUPPORTED = ((0, 23, 8), (0, 26, 0))
"""The first version that is supported, and the first that is not."""

SERVER_NAMES = {
    "AlertNotification": "marimo._messaging.notification",
    "BannerNotification": "marimo._messaging.notification",
    "CreateNotebookCommand": "marimo._runtime.commands",
    "FunctionCallResultNotification": "marimo._messaging.notification",
    "HumanReadableStatus": "marimo._messaging.notification",
    "InvokeFunctionCommand": "marimo._runtime.commands",
    "KernelCreatedResponse": "marimo._session.app_host.commands",
    "KernelStartupError": "marimo._session.managers.ipc",
    "MIDDLEWARE_REGISTRY": "marimo._server.registry",
    "ModelCommand": "marimo._runtime.commands",
    "ModelUpdateMessage": "marimo._runtime.commands",
    "SessionManager": "marimo._server.session_manager",
    "SessionMode": "marimo._session.model",
    "UpdateUIElementCommand": "marimo._runtime.commands",
    "UpdateUserConfigCommand": "marimo._runtime.commands",
    "VirtualFileStorageManager": "marimo._runtime.virtual_file.storage",
    "serialize_kernel_message": "marimo._messaging.serde",
}

HOST_NAMES = {
    "Kernel": "marimo._runtime.runtime",
    "KernelRuntimeContext": "marimo._runtime.context.kernel_context",
    "ModelCommand": "marimo._runtime.commands",
    "StopKernelCommand": "marimo._runtime.commands",
    "create_default_hooks": "marimo._runtime.runner.hooks",
    "md": "marimo._output.md",
    "ThreadLocalStreamProxy": "marimo._messaging.thread_local_streams",
    "UIElementRegistry": "marimo._plugins.ui._core.registry",
    "UpdateUIElementCommand": "marimo._runtime.commands",
    "VirtualFileStorageManager": "marimo._runtime.virtual_file.storage",
    "_batch_base": "marimo._plugins.ui._impl.batch",
    "anywidget": "marimo._plugins.ui._impl.from_anywidget",
    "array": "marimo._plugins.ui._impl.array",
    "button": "marimo._plugins.ui._impl.input",
    "launch_kernel": "marimo._runtime.runtime",
    "random_filename": "marimo._runtime.virtual_file.virtual_file",
    "register_formatters": "marimo._output.formatters.formatters",
    "run_button": "marimo._plugins.ui._impl.run_button",
}

LATE_MODULES = (
    "marimo._data._external_storage.get_storage",
    "marimo._plugins.ui._impl.anywidget.comm_provider",
    "marimo._runtime.kernel_lifecycle",
    "marimo._save.signing_policy",
    "getpass",
    "webbrowser",
)
"""What kernels import when they start. One that a version does not have is left out."""

CLI_NAME = ("marimo._cli.cli", "main")


def server(name: str) -> Any:
    """One of `SERVER_NAMES`."""
    return getattr(importlib.import_module(SERVER_NAMES[name]), name)


def host(name: str) -> Any:
    """One of `HOST_NAMES`."""
    return getattr(importlib.import_module(HOST_NAMES[name]), name)


def command_line() -> Any:
    """marimo's click group."""
    module, name = CLI_NAME
    return getattr(importlib.import_module(module), name)


def replace_random_filename(function: Any) -> None:
    """Have virtual files of this process named by `function(extension)`."""
    module: Any = importlib.import_module(HOST_NAMES["random_filename"])
    module.random_filename = function


def replace_storage_manager(storage: Callable[[], Any]) -> None:
    """Have this process's one manager of virtual files give out what `storage()` returns in the
    thread that asks, and where that is None, what marimo itself has set."""
    manager_class = host("VirtualFileStorageManager")

    class Manager(manager_class):  # type: ignore[valid-type,misc]
        @property
        def storage(self) -> Any:
            chosen = storage()
            return chosen if chosen is not None else manager_class.storage.fget(self)

        @storage.setter
        def storage(self, value: Any) -> None:
            manager_class.storage.fset(self, value)

    manager_class._instance = object.__new__(Manager)


def wrap_initial_values(function: Callable[..., Any]) -> None:
    """Have elements of this process ask `function(ask, context, object_id)` for their initial
    values, where `ask(context, object_id)` is marimo's own answer."""
    _wrap(host("KernelRuntimeContext"), "get_ui_initial_value", function)


def wrap_resolve_lens(function: Callable[..., Any]) -> None:
    """Have `function(resolve, registry, object_id, value)` say where a value of the page goes,
    where `resolve(registry, object_id, value)` is marimo's own answer."""
    _wrap(host("UIElementRegistry"), "resolve_lens", function)


def wrap_handle_message(function: Callable[..., Any]) -> None:
    """Have `function(handle, kernel, request)` be awaited for each command of a kernel of this
    process, where `handle(kernel, request)` is marimo's own."""
    _wrap(host("Kernel"), "handle_message", function)


def _wrap(owner: Any, name: str, function: Callable[..., Any]) -> None:
    original = getattr(owner, name)
    setattr(owner, name, lambda self, *args: function(original, self, *args))


def check_marimo() -> str:
    """The version of the marimo that is installed.

    Raises:
        UnsupportedMarimo: there is none, or it is outside `SUPPORTED`.
    """
    try:
        version = importlib.metadata.version("marimo")
    except importlib.metadata.PackageNotFoundError:
        raise UnsupportedMarimo(
            "marimo is not installed", remedy="pip install 'mpkernel[marimo]'"
        ) from None
    first, end = SUPPORTED
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:3])
    if not first <= numbers < end:
        raise UnsupportedMarimo(
            f"marimo {version} is installed; mpkernel works with {_dotted(first)} up to, but not"
            f" including, {_dotted(end)}",
            remedy=f"pip install 'marimo>={_dotted(first)},<{_dotted(end[:2])}'",
        )
    return version


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(str(part) for part in version)
