"""Virtual files of real notebooks: memory while a slider is dragged for long, and a small
`/dev/shm`."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from e2e.harness import NOTEBOOKS, Server, Tab, http_client
from e2e.test_serving import hosts_of
from waiting import until_async

from shm.names import tag_of

MIB = 1024 * 1024

IN_A_SMALL_SHM = (
    *("unshare", "--mount", "sh", "-c"),
    'mount -t tmpfs -o size=8m tmpfs /dev/shm && exec "$@"',
    *("sh", sys.executable, "-m", "mpkernel", "run"),
)


def file_in(tab: Tab) -> str:
    found = re.findall(r"\./@file/\d+-[\w.-]+", tab.html)
    assert found, tab.html
    return str(found[-1])


def picture(frame: int, pages: int = 1024) -> bytes:
    """The picture that the notebook's page shows."""
    return b"\x89PNG\r\n\x1a\n" + hashlib.shake_128(str(frame).encode()).digest(4096) * pages


def private_bytes(process: psutil.Process) -> int:
    """What ending the process would free; of shared memory, what it alone maps."""
    return int(process.memory_full_info().uss)


def has_open(server: Server, prefix: str) -> bool:
    """Whether the server has a file open whose path has this in it. The server has a mount
    namespace of its own, so the path may begin elsewhere."""
    for descriptor in Path(f"/proc/{server.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it was closed meanwhile
            if prefix in os.readlink(descriptor):
                return True
    return False


async def answers_as_http_says(tab: Tab, content: bytes) -> None:
    url = file_in(tab)
    whole = await tab.get(url)
    tag, length = whole.headers["ETag"], len(content)
    assert whole.content == content
    assert whole.headers["Content-Length"] == str(length)
    assert whole.headers["Content-Type"] == "image/png"
    part = await tab.get(url, {"Range": "bytes=5-9", "If-Range": tag})
    assert (part.status_code, part.content) == (206, content[5:10])
    assert part.headers["Content-Range"] == f"bytes 5-9/{length}"
    assert (part.headers["ETag"], part.headers["Content-Length"]) == (tag, "5")
    assert (await tab.get(url, {"Range": "bytes=-3"})).content == content[-3:]
    other = await tab.get(url, {"Range": "bytes=5-9", "If-Range": '"another file"'})
    assert (other.status_code, other.content) == (200, content)
    beyond = await tab.get(url, {"Range": f"bytes={length}-"})
    assert (beyond.status_code, beyond.headers["Content-Range"]) == (416, f"bytes */{length}")
    for known in (tag, f'"another file", W/{tag}', "*"):
        unchanged = await tab.get(url, {"If-None-Match": known})
        assert (unchanged.status_code, unchanged.content) == (304, b"")
        assert unchanged.headers["ETag"] == tag
    assert (await tab.get(url, {"If-None-Match": '"another file"'})).content == content
    for meant in ("bytes=0-0,5-9", "bytes=0x1-5", f"bytes=0-{'9' * 5000}", "lines=1-2", ""):
        assert (await tab.get(url, {"Range": meant})).content == content
    weak = await tab.get(url, {"Range": "bytes=5-9", "If-Range": f"W/{tag}"})
    assert (weak.status_code, weak.content) == (200, content)
    unchanged = await tab.get(url, {"Range": f"bytes={length}-", "If-None-Match": tag})
    assert unchanged.status_code == 304
    for others in ('"another file"', f"W/{tag}"):
        changed = await tab.get(url, {"Range": "bytes=5-9", "If-Match": others})
        assert (changed.status_code, changed.content) == (412, b"")
    for same in (f'"another, file", {tag}', "*"):
        assert (await tab.get(url, {"Range": "bytes=5-9", "If-Match": same})).status_code == 206
    empty = await tab.get("./@file/0-empty.txt")
    assert (empty.status_code, empty.content) == (200, b"")
    saved = await tab.get(f"{url}?download=1&filename=plot.png")
    assert "plot.png" in saved.headers["Content-Disposition"]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server for tests of the large plot, which has one process."""
    with Server(NOTEBOOKS) as server:
        yield server


@pytest.mark.any_marimo
async def test_dragging_a_slider_over_a_large_plot_costs_no_memory(server: Server) -> None:
    async with http_client() as client:
        tab = Tab(server.url, str(NOTEBOOKS / "big_plot.py"), client=client)
        await tab.open()
        await tab.wait_for("frame 0 end")
        (host,) = hosts_of(server)
        processes = (psutil.Process(server.pid), host)
        prefix = tag_of(host.pid).prefix
        after: list[tuple[int, ...]] = []
        blocks: list[int] = []
        for frame in range(1, 501):
            await tab.set_ui("Frame", frame)
            await tab.wait_for(f"frame {frame} end")
            if frame % 10 == 1:  # a browser skips what it is too slow for
                image = await tab.get(file_in(tab))
                assert image.content == picture(frame)
            if frame in (50, 500):
                after.append(tuple(map(private_bytes, processes)))
            if frame >= 10:
                blocks.append(sum(name.startswith(prefix) for name in os.listdir("/dev/shm")))
        await tab.close()
    for early, late in zip(*after, strict=True):
        assert late - early < 8 * MIB, f"grew from {early / MIB:.0f} to {late / MIB:.0f} MiB"
    assert max(blocks) <= 4


async def test_a_file_that_is_replaced_while_it_is_fetched_arrives_whole(server: Server) -> None:
    async with Tab(server.url, str(NOTEBOOKS / "big_plot.py")) as tab:
        await tab.wait_for("frame 0 end")
        await answers_as_http_says(tab, picture(0))
        await tab.set_ui("Frame", 10_000)
        await tab.wait_for("frame 10000 end")
        url = file_in(tab)
        async with tab.stream(url) as response:
            chunks = response.aiter_bytes()
            received = [await anext(chunks)]
            for frame in range(1, 100):  # marimo drops a file some runs later
                await tab.set_ui("Frame", frame)
                await tab.wait_for(f"frame {frame} end")
                if (await tab.get(url, {"Range": "bytes=0-0"})).status_code == 404:
                    break
            else:
                raise AssertionError("the file is never dropped")
            received += [chunk async for chunk in chunks]
        assert b"".join(received) == picture(10_000, pages=12_288)


@pytest.mark.any_marimo
async def test_a_file_whose_process_dies_while_it_is_fetched_arrives_whole(server: Server) -> None:
    async with Tab(server.url, str(NOTEBOOKS / "big_plot.py")) as tab:
        await tab.wait_for("frame 0 end")
        await tab.set_ui("Frame", 10_000)
        await tab.wait_for("frame 10000 end")
        url = file_in(tab)
        [host] = hosts_of(server)
        async with tab.stream(url) as response:
            chunks = response.aiter_bytes()
            received = [await anext(chunks)]
            host.kill()
            await tab.wait_for(lambda tab: tab.received("banner"))
            received += [chunk async for chunk in chunks]
        assert b"".join(received) == picture(10_000, pages=12_288)
        assert (await tab.get(url)).status_code == 404


@pytest.mark.any_marimo
async def test_a_download_larger_than_shared_memory_arrives_whole() -> None:
    with Server(NOTEBOOKS, program=IN_A_SMALL_SHM) as server:
        async with Tab(server.url, str(NOTEBOOKS / "download.py")) as tab:
            await tab.wait_for("1048576 bytes")
            await tab.set_ui("MiB", 32)
            await tab.wait_for(f"{32 * MIB} bytes")
            content = await tab.get(file_in(tab))
            assert content.content == hashlib.shake_128(b"content").digest(MIB) * 32
            part = await tab.get(file_in(tab), {"Range": f"bytes={30 * MIB}-{30 * MIB + 9}"})
            assert part.content == content.content[30 * MIB : 30 * MIB + 10]
            (host,) = hosts_of(server)
            prefix = tag_of(host.pid).prefix
            async with tab.stream(file_in(tab)) as response:
                await anext(response.aiter_bytes())
                assert has_open(server, prefix)
            await until_async(lambda: not has_open(server, prefix))  # this client has left
            directories = list(Path(tempfile.gettempdir()).glob(f"{prefix}*"))
            assert directories
            await tab.set_ui("MiB", 1)
            await tab.wait_for("1048576 bytes")
            assert (await tab.get(file_in(tab))).status_code == 200
            assert host.is_running()
        assert server.output().count("virtual files fall back to temporary files") == 1
    assert not any(path.exists() for path in directories)
