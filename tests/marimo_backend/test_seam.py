"""Every name of marimo that is used is where `seam` expects it."""

from __future__ import annotations

import inspect

import pytest

from mpkernel.marimo_backend import seam


@pytest.mark.parametrize("name", seam.SERVER_NAMES)
def test_a_name_of_the_servers_half_is_where_it_was(name: str) -> None:
    assert seam.server(name) is not None


@pytest.mark.parametrize("name", seam.HOST_NAMES)
def test_a_name_of_the_hosts_half_is_where_it_was(name: str) -> None:
    assert seam.host(name) is not None


def test_the_kernels_launcher_takes_what_it_is_given() -> None:
    wanted = {
        "control_queue", "set_ui_element_queue", "completion_queue", "input_queue",
        "stream_queue", "socket_addr", "is_edit_mode", "configs", "app_metadata", "user_config",
        "virtual_file_storage", "redirect_console_to_browser", "interrupt_queue", "log_level",
        "is_ipc",
    }  # fmt: skip
    parameters = inspect.signature(seam.host("launch_kernel")).parameters
    assert wanted <= parameters.keys()
    required = {p.name for p in parameters.values() if p.default is inspect.Parameter.empty}
    assert required <= wanted


def test_the_session_manager_asks_the_pool_that_it_holds() -> None:
    source = inspect.getsource(seam.server("SessionManager"))
    for touched in ("self._app_host_pool", "self.workspace", "self.mode", "if self._app_host_pool"):
        assert touched in source


def test_the_adapter_has_the_whole_surface_of_marimos_app_host() -> None:
    from marimo._session.app_host.host import AppHost
    from marimo._session.app_host.pool import AppHostPool

    from mpkernel.marimo_backend.server.app_host import AppHostAdapter
    from mpkernel.marimo_backend.server.shared_pool import PoolLease

    for theirs, ours in ((AppHost, AppHostAdapter), (AppHostPool, PoolLease)):
        public = {name for name in vars(theirs) if not name.startswith("_")}
        assert public <= set(dir(ours))


def test_the_app_host_of_a_session_is_where_it_is_looked_for() -> None:
    from marimo._session.managers.app_host import AppHostKernelManager
    from marimo._session.session import SessionImpl

    assert "self._kernel_manager =" in inspect.getsource(SessionImpl)
    assert "self._app_host =" in inspect.getsource(AppHostKernelManager)


def test_the_file_storage_has_the_whole_surface_of_marimos() -> None:
    from marimo._runtime.virtual_file.storage import SharedMemoryStorage

    from mpkernel.host.session_files import SessionFiles
    from mpkernel.marimo_backend.server.registered_files import RegisteredFiles

    public = {n for n in vars(SharedMemoryStorage) if not n.startswith("_")}
    assert public <= set(dir(SessionFiles))
    assert public <= set(dir(RegisteredFiles))


def test_virtual_files_are_named_by_the_function_that_is_replaced() -> None:
    from marimo._runtime.virtual_file import virtual_file

    assert "random_filename(" in inspect.getsource(virtual_file.VirtualFileLifecycleItem)
