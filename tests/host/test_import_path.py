"""What a host loads only when it needs it, and an app that has files of the same names."""

from __future__ import annotations

from pathlib import Path

import pytest

from mpkernel import HostPool, KernelSpec
from mpkernel.errors import KernelFailed

_KERNEL = """
def main(kernel):
    file = kernel.files.create(bytes(100_000))
    kernel.send(file.url.encode())
    raise RuntimeError("on purpose")
"""


async def test_modules_beside_an_app_do_not_take_the_place_of_those_that_a_host_loads_late(
    tmp_path: Path,
) -> None:
    app = tmp_path / "app_of_names.py"
    app.write_text(_KERNEL)
    for name in ("base64", "logging", "random", "shutil", "tempfile", "traceback"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('the wrong module')\n")
    async with HostPool() as pool:
        session = await pool.open_session(app, kernel=KernelSpec(entry="app_of_names:main"))
        assert "@file" in (await anext(session)).payload.decode()
        with pytest.raises(KernelFailed, match="on purpose"):
            await anext(session)
