"""The directory of multiprocessing's temporary files is removed with its host, however the host
ends."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from pathlib import Path

import msgspec
import pytest
from waiting import PATIENCE_S

from mpkernel import HostPool, KernelSpec
from mpkernel.errors import MPKernelError

KERNELS = Path(__file__).parent.parent / "server" / "apps" / "kernels.py"


@pytest.mark.parametrize("end", ["killed", "closed"])
async def test_it_is_one_for_a_host_and_its_children_and_goes_with_the_host(end: str) -> None:
    async with HostPool() as pool:
        kernel = KernelSpec(entry="kernels:temporary_directories")
        session = await pool.open_session(KERNELS, kernel=kernel)
        found = msgspec.json.decode((await anext(session)).payload)
        directory = Path(found[0])
        assert found == [str(directory)] * 3
        assert directory.parent == Path(tempfile.gettempdir())
        assert directory.is_dir()
        (directory / "socket").write_text("")
        if end == "killed":
            (host,) = pool.hosts
            os.kill(host.pid, signal.SIGKILL)
            with pytest.raises(MPKernelError):
                await anext(session)
            async with asyncio.timeout(PATIENCE_S):
                await host.wait_over()
            assert not directory.exists()
    assert not directory.exists()
