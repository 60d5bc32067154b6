"""An app in the embedded kernel imports what it would import as `python APP`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from kernel.conftest import Client, printed

from mpkernel import HostPool, Settings
from mpkernel.kernel.messages import Status

REPORT = """
import json, os, sys
import helper
try:
    import queue
except RuntimeError as error:
    queue = error
print(json.dumps({
    "path": sys.path[0],
    "arguments": sys.argv[1:],
    "cwd": os.getcwd(),
    "helper": helper.__file__,
    "umask": os.umask(0o077),
    "file": os.path.realpath(__file__),
}))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Apps, links to them, and modules of one name beside both."""
    for name in ("real", "nöt ascii"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "app.py").write_text(REPORT)
        (tmp_path / name / "helper.py").write_text("")
    (tmp_path / "helper.py").write_text("")
    (tmp_path / "link.py").symlink_to(tmp_path / "real" / "app.py")
    (tmp_path / "linked").symlink_to(tmp_path / "real")
    return tmp_path


@pytest.mark.parametrize("standby", [0, 1])
@pytest.mark.parametrize("app", ["real/app.py", "nöt ascii/app.py", "link.py", "linked/app.py"])
async def test_it_is_where_a_script_is(folder: Path, app: str, standby: int) -> None:
    arguments = ["--colour", "grün"]
    ran = subprocess.run(
        [sys.executable, str(folder / app), *arguments], capture_output=True, text=True, check=True
    )
    async with HostPool(Settings(standby=standby)) as pool:
        if standby:
            await pool.standby.wait_ready()
        client = await Client.open(pool, folder / app, argv=arguments)
        client.run_app()
        reported = printed(await client.wait_idle())
    assert json.loads(reported) == json.loads(ran.stdout)


@pytest.mark.parametrize("standby", [0, 1])
async def test_what_lies_beside_an_app_is_not_taken_for_a_part_of_the_kernel(
    folder: Path, standby: int
) -> None:
    for name in ("msgspec", "mpkernel", "codeop", "getpass", "queue", "linecache"):
        (folder / "real" / f"{name}.py").write_text(f"raise RuntimeError('{name} beside the app')")
    async with HostPool(Settings(standby=standby)) as pool:
        if standby:
            await pool.standby.wait_ready()
        client = await Client.open(pool, folder / "real" / "app.py")
        await client.wait_for(Status, state="idle")
        assert "fine" in await client.text("print('fine')")
