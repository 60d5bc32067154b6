"""Uploaded files are restored after a death; a file that was not kept is named on the page."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from e2e.harness import NOTEBOOKS, Server, Tab, restarts_of
from waiting import PATIENCE_S

UPLOAD, INSIDE = (str(NOTEBOOKS / f"{name}.py") for name in ("upload", "upload_inside"))
FILE = [["sales.csv", "QUFB" * 1_000_000]]  # three million times "A"


async def kill_its_process(tab: Tab) -> str:
    """The banner that follows."""
    os.kill(int(re.findall(r"in process (\d+)", tab.text)[0]), signal.SIGKILL)
    await tab.wait_for(restarts_of)
    return restarts_of(tab)[-1]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server for tests that do not look at its memory."""
    with Server(UPLOAD, INSIDE) as server:
        yield server


async def test_an_uploaded_file_comes_back_after_a_death(server: Server) -> None:
    async with Tab(server.url, UPLOAD) as tab:
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


async def test_files_inside_other_elements_come_back_after_a_death(server: Server) -> None:
    contents = FILE[0][1]

    def file(name: str) -> list[list[str]]:
        return [[f"{name}.csv", contents]]

    async with Tab(server.url, INSIDE) as tab:
        await tab.wait_for("has {}")
        values = {
            "Form": file("form"),
            "Nested": {"note": "kept", "files": {"0": file("nested"), "1": []}},
            "Batch form": {"file": file("batch_form")},
            "In batch": file("batch"),
            "In dictionary": file("dictionary"),
            "In array": file("array"),
        }
        for name, value in values.items():
            await tab.set_ui(name, value)
        names = ("array", "batch", "batch_form", "dictionary", "form", "nested")
        shown = {f"{name}.csv": 3_000_000 for name in names}
        await tab.wait_for(f"has {shown} kept end")
        before = re.findall(r"in process (\d+)", tab.text)
        assert "Lost" not in await kill_its_process(tab)
        await tab.wait_for(lambda tab: re.findall(r"in process (\d+)", tab.text) != before)
        await tab.wait_for(f"has {shown} kept end")


async def test_a_large_file_passes_the_server_without_filling_its_memory() -> None:
    async with Server(UPLOAD) as server, Tab(server.url) as tab:
        await tab.wait_for("has []")
        before = peak_bytes(server.pid)
        await tab.set_ui("Upload", [["large.bin", "QUFB" * 20_000_000]])
        await tab.wait_for("has [('large.bin', 60000000, b'AAA')]")
        assert peak_bytes(server.pid) - before < 40_000_000


async def test_a_page_is_told_how_much_of_a_slow_upload_has_come(server: Server) -> None:
    async with Tab(server.url, UPLOAD) as tab, asyncio.timeout(PATIENCE_S):
        await tab.wait_for("has []")

        def banners() -> list[tuple[str, str]]:
            return [(one["title"], one["description"]) for one in tab.received("banner")]

        async def body() -> AsyncIterator[bytes]:
            object_id = tab.element("Upload").object_id
            yield f'{{"objectIds":["{object_id}"],"values":[[["slow.csv","'.encode()
            yield b"QUFB" * 1_000_000
            while not banners():  # the rest comes when it was told
                yield b"QUFB"
                await asyncio.sleep(0.02)
            yield b'"]]]}'

        answer = await tab.post_bytes("api/kernel/set_ui_element_value", body())
        answer.raise_for_status()
        await tab.wait_for("has [('slow.csv', 3")
        assert banners()[0] == ("This tab uploads:", "2.86 MiB have arrived.")
        assert banners()[-1] == ("", "")


def peak_bytes(pid: int) -> int:
    """The most memory that a process has had."""
    (kilobytes,) = re.findall(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return 1024 * int(kilobytes)
