"""marimo's pages, when the network between the server and the workers is slow, or is cut."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import httpx
import psutil
import pytest
from dask_backend.machines import Machines, machines
from dask_backend.networks import Network, network
from e2e.harness import NOTEBOOKS, Server, Tab
from e2e.test_browser import download, page_of, set_slider
from e2e.test_uploads import FILE
from e2e.test_virtual_files import file_in, picture
from playwright.async_api import Page, expect

pytestmark = pytest.mark.asyncio(loop_scope="module")

SILENCE_S = 6.0
CUT_S = 2.0


class Site(NamedTuple):
    """A server, and elsewhere a cluster of two workers, each with a machine of its own."""

    network: Network
    cluster: Machines
    server: Server

    def tab(self, notebook: str) -> Tab:
        return Tab(self.server.url, str(NOTEBOOKS / notebook))

    def cut(self) -> None:
        """Cut the workers off from the server, and from their scheduler."""
        for machine in self.network.machines[1:]:
            self.network.cut(machine)

    def join(self) -> None:
        for machine in self.network.machines:
            self.network.join(machine)

    def hosts(self) -> list[psutil.Process]:
        """The processes of apps on the workers' machines."""
        workers = [worker for nanny in self.cluster.nannies for worker in nanny.children()]
        outposts = [outpost for worker in workers for outpost in worker.children()]
        return [host for outpost in outposts for host in outpost.children()]


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with network(3) as cables, machines(2, cables) as cluster:
        env = {
            "MPKERNEL_CLUSTER": cluster.address,
            "MPKERNEL_CLUSTER_SILENCE_S": str(SILENCE_S),
        }
        options = ["--session-ttl", "1", "--redirect-console-to-browser"]
        with Server(NOTEBOOKS, options=options, env=env) as server:
            yield Site(cables, cluster, server)


@pytest.fixture(params=[0.001, 0.02], ids=["1 ms", "20 ms"])
def slow_site(site: Site, request: pytest.FixtureRequest) -> Iterator[Site]:
    """Each packet takes so long."""
    site.network.delay(request.param)
    yield site
    site.network.delay(0.0)


async def test_pages_work_as_ever_over_a_slow_network(slow_site: Site) -> None:
    async with slow_site.tab("slider.py") as tab:
        for number in range(1, 6):
            await tab.wait_for(f"number {number} squared is {number**2} ")
            await tab.set_ui("Number", number + 1)
    async with slow_site.tab("fidelity/tables.py") as tab:
        await tab.wait_for("selected [] end")
        table = tab.element("Numbers")
        rows = {"page_size": 10, "page_number": 3}
        call = {"functionCallId": "1", "namespace": table.object_id, "functionName": "search"}
        (await tab.post("api/kernel/function_call", {**call, "args": rows})).raise_for_status()
        await tab.wait_for(lambda tab: "name-40" in str(tab.received("function-call-result")))
    async with slow_site.tab("console.py") as tab:
        await tab.wait_for("thread of nobody done with 0")
        await tab.wait_for(lambda tab: "thread of nobody prints 0" in tab.console)
    async with slow_site.tab("upload.py") as tab:
        await tab.wait_for("has []")
        await tab.set_ui("Upload", FILE)
        await tab.wait_for("has [('sales.csv', 3000000, b'AAA')]")
    async with large_file(slow_site) as (tab, url):
        assert (await tab.get(url)).content == picture(10_000, pages=12_288)


async def test_a_page_in_a_browser_works_over_a_slow_network(site: Site, page: Page) -> None:
    site.network.delay(0.02)
    try:
        notebook = NOTEBOOKS / "download.py"
        await page.goto(page_of(site.server, notebook), wait_until="commit")
        for mebibytes in (2, 4):
            await set_slider(page, steps=mebibytes - 1)
            expected = hashlib.shake_128(b"content").digest(1 << 20) * mebibytes
            await expect(page.get_by_text(hashlib.sha256(expected).hexdigest())).to_be_visible()
            assert await download(page, "Content") == ("content.bin", expected)
    finally:
        site.network.delay(0.0)


@asynccontextmanager
async def large_file(site: Site) -> AsyncIterator[tuple[Tab, str]]:
    """A tab, and the address of a file of 48 MiB on its page."""
    async with site.tab("big_plot.py") as tab:
        await tab.wait_for("frame 0 end")
        await tab.set_ui("Frame", 10_000)
        await tab.wait_for("frame 10000 end")
        yield tab, file_in(tab)


async def test_a_download_goes_on_when_the_network_is_back(site: Site) -> None:
    async with large_file(site) as (tab, url), tab.stream(url) as response:
        parts = response.aiter_bytes()
        received = await anext(parts)
        site.cut()
        try:
            await asyncio.sleep(CUT_S)
        finally:
            site.join()
        received += b"".join([part async for part in parts])
        assert received == picture(10_000, pages=12_288)


async def test_a_download_whose_worker_is_lost_is_broken_off_and_the_page_comes_back(
    site: Site,
) -> None:
    async with large_file(site) as (tab, url):
        try:
            async with tab.stream(url) as response:
                parts = response.aiter_bytes()
                await anext(parts)
                site.cut()
                with pytest.raises(httpx.RemoteProtocolError, match="incomplete|peer closed"):
                    async for _ in parts:
                        continue
                assert (await tab.get(url)).status_code == 404  # not a byte can be sent
        finally:
            site.join()
        await tab.wait_for(lambda tab: tab.received("banner"), 60)
        await tab.wait_for(lambda tab: "frame 10000 end" in tab.text and file_in(tab) != url, 60)
        assert (await tab.get(file_in(tab))).content == picture(10_000, pages=12_288)


async def test_a_download_whose_process_ends_is_broken_off(site: Site) -> None:
    async with large_file(site) as (tab, url):
        async with tab.stream(url) as response:
            parts = response.aiter_bytes()
            await anext(parts)
            for host in site.hosts():
                host.kill()
            with pytest.raises(httpx.RemoteProtocolError, match="incomplete|peer closed"):
                async for _ in parts:
                    continue
        await tab.wait_for(lambda tab: tab.received("banner"), 60)
