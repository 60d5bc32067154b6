"""Uploaded files come back after a death; one that was not kept is named."""

from __future__ import annotations

import os
import re
import signal

from e2e.harness import NOTEBOOKS, Server, Tab

UPLOAD = str(NOTEBOOKS / "upload.py")
FILE = [["sales.csv", "QUFB" * 1_000_000]]  # three million times "A"


async def kill_its_process(tab: Tab) -> str:
    """The banner that follows."""
    os.kill(int(re.findall(r"in process (\d+)", tab.text)[0]), signal.SIGKILL)
    await tab.wait_for(lambda tab: tab.received("banner"))
    return str(tab.received("banner")[-1]["description"])


async def test_an_uploaded_file_comes_back_after_a_death() -> None:
    async with Server(UPLOAD) as server, Tab(server.url) as tab:
        await tab.wait_for("has []")
        await tab.set_ui("Upload", FILE)
        await tab.wait_for("has [('sales.csv', 3000000, b'AAA')]")
        before = re.findall(r"in process (\d+)", tab.text)
        assert "Lost" not in await kill_its_process(tab)
        await tab.wait_for(lambda tab: re.findall(r"in process (\d+)", tab.text) != before)
        await tab.wait_for("has [('sales.csv', 3000000, b'AAA')]")


async def test_a_file_that_was_not_kept_is_named() -> None:
    env = {"MPKERNEL_JOURNAL_FILES_BYTES": "1000000"}
    async with Server(UPLOAD, env=env) as server, Tab(server.url) as tab:
        await tab.wait_for("has []")
        await tab.set_ui("Upload", FILE)
        await tab.wait_for("has [('sales.csv', 3000000, b'AAA')]")
        assert "the file sales.csv must be uploaded again" in await kill_its_process(tab)
        await tab.wait_for("has []")
