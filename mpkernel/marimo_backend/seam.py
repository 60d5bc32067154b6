"""Every name of marimo that mpkernel uses.

None of these names are public. A test looks up each of them, so when marimo moves one, that test
fails, and only this file must change. The functions import marimo when they are called: a server
needs one half of the names, a host the other, and neither may import anything that imports zmq.
"""

from __future__ import annotations

import ast
import importlib
import os
import threading
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from mpkernel.parsing import again_if_disturbed

__all__ = [
    "HOST_NAMES",
    "LATE_MODULES",
    "SERVER_NAMES",
    "as_starlette",
    "asks_for_sandboxes",
    "cache_elsewhere",
    "cells_of",
    "cells_of_file",
    "has_page",
    "host",
    "keep_message_decoder",
    "keep_skew_token",
    "messages_waiting",
    "parse_again_if_disturbed",
    "parse_notebooks_once",
    "pass_zmq_checks",
    "passing_zmq_checks",
    "sandboxes_are_pixis",
    "server",
    "show_again",
    "sessions_of",
]

SERVER_NAMES = {
    "AlertNotification": "marimo._messaging.notification",
    "BannerNotification": "marimo._messaging.notification",
    "CommandMessage": "marimo._runtime.commands",
    "CreateNotebookCommand": "marimo._runtime.commands",
    "DependencyManager": "marimo._dependencies.dependencies",
    "DynamicDirectoryMiddleware": "marimo._server.asgi",
    "FunctionCallResultNotification": "marimo._messaging.notification",
    "HTTPRequest": "marimo._runtime.commands",
    "HumanReadableStatus": "marimo._messaging.notification",
    "InvokeFunctionCommand": "marimo._runtime.commands",
    "KernelCreatedResponse": "marimo._session.app_host.commands",
    "KernelStartupError": "marimo._session.managers.ipc",
    "MIDDLEWARE_REGISTRY": "marimo._server.registry",
    "ModelCommand": "marimo._runtime.commands",
    "ModelUpdateMessage": "marimo._runtime.commands",
    "SessionManager": "marimo._server.session_manager",
    "NotificationListenerExtension": "marimo._session.extensions.extensions",
    "NotificationMessage": "marimo._messaging.notification",
    "QueueDistributor": "marimo._utils.distributor",
    "SessionMode": "marimo._session.model",
    "UpdateUIElementCommand": "marimo._runtime.commands",
    "UpdateUserConfigCommand": "marimo._runtime.commands",
    "_collect_marimo_files": "marimo._cli.cli",
    "ast_parse": "marimo._ast.parse",
    "create_asgi_app": "marimo._server.asgi",
    "deserialize_kernel_message": "marimo._session.state.session_view",
    "print_shutdown": "marimo._server.api.lifespans",
    "print_startup": "marimo._server.api.lifespans",
    "VirtualFileStorageManager": "marimo._runtime.virtual_file.storage",
    "serialize_kernel_message": "marimo._messaging.serde",
    "virtual_file": "marimo._server.api.endpoints.assets",
}

HOST_NAMES = {
    "CellChannel": "marimo._messaging.cell_output",
    "ConsoleMsg": "marimo._messaging.console_output_worker",
    "Kernel": "marimo._runtime.runtime",
    "FileStore": "marimo._save.stores.file",
    "FlushMarker": "marimo._messaging.console_output_worker",
    "KernelRuntimeContext": "marimo._runtime.context.kernel_context",
    "ModelCommand": "marimo._runtime.commands",
    "StopKernelCommand": "marimo._runtime.commands",
    "external_prefix": "marimo._ast.app",
    "get_context": "marimo._runtime.context",
    "create_default_hooks": "marimo._runtime.runner.hooks",
    "entry_points": "marimo._entrypoints.registry",
    "md": "marimo._output.md",
    "ThreadLocalStreamProxy": "marimo._messaging.thread_local_streams",
    "ThreadSafeStream": "marimo._messaging.streams",
    "UIElementRegistry": "marimo._plugins.ui._core.registry",
    "UpdateUIElementCommand": "marimo._runtime.commands",
    "VirtualFileStorageManager": "marimo._runtime.virtual_file.storage",
    "_batch_base": "marimo._plugins.ui._impl.batch",
    "_build_source_position_map": "marimo._ast.compiler",
    "anywidget": "marimo._plugins.ui._impl.from_anywidget",
    "array": "marimo._plugins.ui._impl.array",
    "ast_parse": "marimo._ast.parse",
    "button": "marimo._plugins.ui._impl.input",
    "launch_kernel": "marimo._runtime.runtime",
    "random_filename": "marimo._runtime.virtual_file.virtual_file",
    "register_formatters": "marimo._output.formatters.formatters",
    "run_button": "marimo._plugins.ui._impl.run_button",
    "std_stream_max_bytes": "marimo._messaging.streams",
}

LATE_MODULES = (
    "marimo._data._external_storage.get_storage",
    "marimo._plugins.ui._impl.anywidget.comm_provider",
    "marimo._runtime.kernel_lifecycle",
    "marimo._save.manifest",
    "marimo._save.signing_policy",
    "comm.base_comm",
    "getpass",
    "webbrowser",
)
"""Modules that kernels import when they start, or after their first run. One that the installed
version lacks is skipped."""


def server(name: str) -> Any:
    """The object of this name in `SERVER_NAMES`."""
    return getattr(importlib.import_module(SERVER_NAMES[name]), name)


def host(name: str) -> Any:
    """The object of this name in `HOST_NAMES`."""
    return getattr(importlib.import_module(HOST_NAMES[name]), name)


def cache_elsewhere(folder: str) -> None:
    """Have marimo write the caches that it cannot write beside their notebook to this folder.
    Without this, it would write them to the current directory. A marimo that has no such setting is
    left as it is."""
    module: Any = importlib.import_module("marimo._save.stores.file")
    if hasattr(module, "FALLBACK_SAVE_PATH"):
        module.FALLBACK_SAVE_PATH = Path(folder)


def replace_random_filename(function: Any) -> None:
    """Have `function(extension)` name the virtual files of this process."""
    module: Any = importlib.import_module(HOST_NAMES["random_filename"])
    module.random_filename = function


def replace_entry_points(function: Callable[[], Any]) -> None:
    """Have marimo look for plugins by `function().select(group=…)`. marimo itself asks
    `importlib.metadata.entry_points().select(group=…)`."""
    module: Any = importlib.import_module(HOST_NAMES["entry_points"])
    module.entry_points = function


def replace_external_prefix(function: Callable[[Callable[[], str]], str]) -> None:
    """Have `function(random)` give the prefix of the names of an embedded app's cells. `random()`
    is marimo's own function."""
    module: Any = importlib.import_module(HOST_NAMES["external_prefix"])
    random = module.external_prefix
    module.external_prefix = lambda: function(random)


def replace_storage_manager(storage: Callable[[], Any]) -> None:
    """Have this process's one manager of virtual files return what `storage()` returns on the
    asking thread; where that is None, what marimo itself has set."""
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
    """Have elements of this process get their initial values from `function(ask, context,
    object_id)`. `ask(context, object_id)` is marimo's own function."""
    _wrap(host("KernelRuntimeContext"), "get_ui_initial_value", function)


def wrap_resolve_lens(function: Callable[..., Any]) -> None:
    """Have `function(resolve, registry, object_id, value)` decide to which element a value of the
    page goes. `resolve(registry, object_id, value)` is marimo's own function."""
    _wrap(host("UIElementRegistry"), "resolve_lens", function)


def wrap_handle_message(function: Callable[..., Any]) -> None:
    """Have `function(handle, kernel, request)` awaited for each command of a kernel of this
    process. `handle(kernel, request)` is marimo's own function."""
    _wrap(host("Kernel"), "handle_message", function)


def replace_queue_distributor(make_class: Callable[[Any], Any]) -> None:
    """Have sessions of this process distribute their kernels' messages with the class that
    `make_class(QueueDistributor)` returns. It must derive from marimo's own. Idempotent."""
    module: Any = importlib.import_module(SERVER_NAMES["NotificationListenerExtension"])
    original = server("QueueDistributor")
    if module.QueueDistributor is original:
        module.QueueDistributor = make_class(original)


def keep_message_decoder() -> None:
    """Have sessions of this process read their kernels' messages with one decoder. marimo prepares
    one for each message, which takes far longer than to decode it. From any thread: servers may
    start on several loops at once. Idempotent."""
    module: Any = importlib.import_module(SERVER_NAMES["deserialize_kernel_message"])
    with _decoder_lock:
        decoder = msgspec.json.Decoder(server("NotificationMessage"))
        module.deserialize_kernel_message = decoder.decode


def parse_again_if_disturbed() -> None:
    """Have marimo parse notebooks and cells in this process as `mpkernel.parsing` does: on several
    threads at once. All parse with `ast_parse`, whose module gets an `ast` of its own. From any
    thread. Idempotent."""
    module: Any = importlib.import_module(HOST_NAMES["ast_parse"])
    if module.ast is ast:
        own: Any = types.ModuleType("ast", ast.__doc__)
        vars(own).update(vars(ast))
        own.parse = again_if_disturbed(ast.parse)
        module.ast = own


def parse_notebooks_once() -> None:
    """Have kernels of this process that start together parse their notebook once. marimo keeps what
    it has found, but kernels that look for it at the same time would all begin to parse. To be
    called once.

    marimo looks for the lines of the cells. If the file has gone, or is no Python now, it finds
    none, and the cells run without: they come from the server, and belong to a page that was open
    before.
    """
    module: Any = importlib.import_module(HOST_NAMES["_build_source_position_map"])
    parse = module._build_source_position_map
    lock = threading.Lock()  # held while one kernel parses

    def parse_once(filename: str) -> Any:
        with lock:
            try:
                return parse(filename)
            except Exception:  # noqa: BLE001 (whatever parsing raises for a file of any content)
                return ()

    module._build_source_position_map = parse_once


def as_starlette(app: Any) -> Any:
    """The application of marimo's builder, as one Starlette application.

    Folders of notebooks are layers that marimo puts around its Starlette application, and each
    layer would hide that application's methods. Here they become its middleware, in the same order.
    """
    layers = []
    while isinstance(app, server("DynamicDirectoryMiddleware")):
        layers.append(app)
        app = app.app
    for layer in reversed(layers):
        app.add_middleware(_put_around, layer=layer)
    return app


def _put_around(app: Any, layer: Any) -> Any:
    layer.app = app
    return layer


def sessions_of(manager: Any, app_hosts: Sequence[Any]) -> list[str]:
    """The ids of a manager's sessions whose kernels these app hosts run."""
    return [
        session_id
        for session_id, session in manager.sessions.items()
        if getattr(session._kernel_manager, "_app_host", None) in app_hosts
    ]


def messages_waiting(manager: Any, session_id: str) -> int:
    """How many messages the slowest page of a session of this manager has not taken; 0 if there is
    no such session, or it has no page."""
    session = manager.get_session(session_id)
    if session is None:
        return 0
    consumers = session.room.consumers
    # Before marimo 0.24 the pages are the keys; since then they are in the values.
    pages = [getattr(value, "consumer", key) for key, value in consumers.items()]
    queues = [getattr(page, "message_queue", None) for page in pages]
    return max((waiting.qsize() for waiting in queues if waiting is not None), default=0)


def has_page(manager: Any, session_id: str) -> bool:
    """Whether a page of a session of this manager is connected, as far as the server knows."""
    session = manager.get_session(session_id)
    page = session.room.main_consumer if session is not None else None
    return page is not None and page.connection_state().name == "OPEN"


def show_again(manager: Any, session_id: str) -> None:
    """Send all that a session of this manager shows now to its page, and to no other."""
    session = manager.get_session(session_id)
    page = session.room.main_consumer if session is not None else None
    if page is not None:
        for notification in session.session_view.notifications:
            page.notify(server("serialize_kernel_message")(notification))


def asks_for_sandboxes(manager: Any) -> bool:
    """Whether the server of this session manager was started with `--sandbox`."""
    # Before marimo 0.25 it is the mode that says so.
    return bool(getattr(manager, "sandbox", None) or getattr(manager, "sandbox_mode", None))


def sandboxes_are_pixis() -> bool:
    """Whether `marimo run --sandbox` was told to have its environments made by pixi, not by uv."""
    return os.environ.get("MARIMO_SANDBOX_BACKEND") == "pixi"


def cells_of(manager: Any, file_key: str | None) -> dict[str, str]:
    """The code of a notebook's cells as its file is now, by their ids.

    Args:
        manager: the session manager that serves it.
        file_key: marimo's name for it. None: the only one that is served; of several, no cells.
    """
    key = file_key or manager.workspace.get_unique_file_key()
    if key is None:
        return {}
    return dict(manager.app_manager(key).app.cell_manager.code_map())


def cells_of_file(manager: Any, session_id: str) -> dict[str, str]:
    """The code of the cells of a session's notebook as its file is now, by their ids."""
    loaded = manager.get_session(session_id).app_file_manager
    return dict(type(loaded)(loaded.path).app.cell_manager.code_map())


def keep_skew_token(manager: Any, token: str) -> None:
    """Have this manager know outdated pages by this token."""
    tokens = manager._token_manager
    tokens.skew_protection_token = type(tokens.skew_protection_token)(token)


def sign_logins_with(secret: str) -> None:
    """Have applications that marimo makes from now on sign the cookies of logins with this secret,
    or with the one that the environment names. marimo's own is another one in each process."""
    secret = os.environ.get("MARIMO_SESSION_SECRET") or secret
    for place in ("marimo._server.api.auth", "marimo._server.main"):
        module: Any = importlib.import_module(place)
        for name in ("SESSION_SECRET", "RANDOM_SECRET"):  # the second name before marimo 0.24
            if (own := getattr(module, name, None)) is not None:
                setattr(module, name, type(own)(secret))


def _wrap(owner: Any, name: str, function: Callable[..., Any]) -> None:
    original = getattr(owner, name)
    setattr(owner, name, lambda self, *args: function(original, self, *args))


_decoder_lock = threading.Lock()  # held while one thread has msgspec look at marimo's classes
_zmq_lock = threading.Lock()  # guards the replacement of marimo's record of zmq


def pass_zmq_checks() -> None:
    """From now on, marimo's checks in this process whether zmq can be imported succeed: zmq is only
    needed for marimo's own app hosts. An import of zmq still fails."""
    manager = server("DependencyManager")
    manager.zmq = type(manager.zmq)("marimo")


@contextmanager
def passing_zmq_checks() -> Iterator[None]:
    """The same as `pass_zmq_checks`, but only inside this `with`."""
    manager = server("DependencyManager")
    with _zmq_lock:
        before = manager.zmq
        pass_zmq_checks()
        try:
            yield
        finally:
            manager.zmq = before
