"""The client of a cluster that a server makes itself."""

from __future__ import annotations

import gc
import os
import threading
from pathlib import Path

import pytest

from mpkernel import HostPool, KernelSpec, Settings
from mpkernel.aio.loops import new_event_loop
from mpkernel.dask_backend.launcher import DaskLauncher
from mpkernel.errors import HostStartError

__all__ = ["DaskLauncher"]  # imported before descriptors are counted


async def test_without_a_thread_for_the_client_an_app_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async with HostPool(Settings(cluster="tcp://127.0.0.1:1")) as pool:
        new_event_loop().close()  # libuv keeps two descriptors from its first loop on
        gc.collect()  # what earlier tests have left may go at any time
        before = os.listdir("/proc/self/fd")
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", start)
            with pytest.raises(HostStartError, match="can't start new thread"):
                await pool.open_session(Path(__file__), kernel=KernelSpec(entry="a:b"))
        assert len(os.listdir("/proc/self/fd")) <= len(before)
