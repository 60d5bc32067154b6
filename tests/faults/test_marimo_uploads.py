"""An uploaded file is restored after a death, also where shared memory is small or does not
exist."""

from __future__ import annotations

import os
import re
import signal
import stat
from collections.abc import Sequence
from pathlib import Path

import pytest
from e2e.harness import NOTEBOOKS, PROGRAM, Server, Tab
from faults.namespaces import seen_by, with_mounts, with_small
from faults.served import directories
from waiting import until

UPLOAD = str(NOTEBOOKS / "upload.py")
FILE = [["sales.csv", "QUFB" * 1_000_000]]
SHOWN = "has [('sales.csv', 3000000, b'AAA')]"

SMALL = with_small({"/dev/shm": "1m"})
READ_ONLY = with_mounts("mount -t tmpfs -o ro tmpfs /dev/shm")


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.glob("mpk-*/*") if path.is_file()]


def process_of(tab: Tab) -> int:
    return int(re.findall(r"in process (\d+)", tab.text)[0])


@pytest.mark.parametrize("before", [SMALL, READ_ONLY], ids=["small", "read-only"])
async def test_it_is_kept_in_private_temporary_files(folder: Path, before: Sequence[str]) -> None:
    env = directories(folder)
    temporary = folder / "tmp"
    async with (
        Server(UPLOAD, program=(*before, *PROGRAM), env=env) as server,
        Tab(server.url) as tab,
    ):
        await tab.wait_for("has []")
        await tab.set_ui("Upload", FILE)
        await tab.wait_for(SHOWN)
        kept = until(lambda: files_in(temporary))
        assert {stat.S_IMODE(path.stat().st_mode) for path in kept} == {0o600}
        assert {stat.S_IMODE(path.parent.stat().st_mode) for path in kept} == {0o700}
        died = process_of(tab)
        os.kill(died, signal.SIGKILL)
        await tab.wait_for(lambda tab: tab.received("banner"))
        assert "Lost" not in str(tab.received("banner")[-1]["description"])
        await tab.wait_for(lambda tab: process_of(tab) != died)
        await tab.wait_for(SHOWN)
        await tab.set_ui("Upload", [])
        await tab.wait_for("has []")
        until(lambda: not files_in(temporary))
    assert not list(temporary.glob("mpk-*"))


async def test_what_fits_nowhere_is_named(folder: Path) -> None:
    env = directories(folder)
    before = with_small({"/dev/shm": "1m", folder / "tmp": "1m"})
    async with (
        Server(UPLOAD, program=(*before, *PROGRAM), env=env) as server,
        Tab(server.url) as tab,
    ):
        await tab.wait_for("has []")
        await tab.set_ui("Upload", FILE)
        await tab.wait_for(SHOWN)
        os.kill(process_of(tab), signal.SIGKILL)
        await tab.wait_for(lambda tab: tab.received("banner"))
        said = str(tab.received("banner")[-1]["description"])
        assert "the file sales.csv must be uploaded again" in said
        await tab.wait_for("has []")
        assert not files_in(seen_by(server.pid, folder / "tmp"))
