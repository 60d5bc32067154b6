"""marimo's notebooks on a cluster: workers that share no memory and no temporary files with the
server, as on other machines. `test_fidelity.py` compares all that notebooks do, when asked to."""

from __future__ import annotations

import asyncio
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from dask_backend.machines import TEMPORARY, Machines, machines
from e2e import fidelity_pages as pages
from e2e.fidelity import Visit
from e2e.harness import NOTEBOOKS, Server, Tab
from e2e.test_serving import hosts_of
from e2e.test_uploads import FILE
from e2e.test_virtual_files import answers_as_http_says, file_in, picture
from playwright.async_api import BrowserContext, Page, expect

ROOT = NOTEBOOKS.parents[2]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Machines]:
    with machines(2) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def server(cluster: Machines) -> Iterator[Server]:
    with Server(
        NOTEBOOKS,
        options=["--redirect-console-to-browser"],
        env={"MPKERNEL_CLUSTER": cluster.address},
        cwd=ROOT,
    ) as server:
        yield server


def tab_of(server: Server, notebook: str) -> Tab:
    return Tab(server.url, str(NOTEBOOKS / notebook))


@pytest.mark.asyncio(loop_scope="module")
async def test_a_page_in_a_browser_does_what_it_does_without_a_cluster(
    server: Server, context: BrowserContext, tmp_path: Path
) -> None:
    async with Visit(server, NOTEBOOKS / "fidelity", "together", context, tmp_path) as visit:
        await pages.together(visit)
    assert hosts_of(server) == []


async def test_virtual_files_are_read_from_the_workers_machine(server: Server) -> None:
    async with tab_of(server, "big_plot.py") as tab:
        await tab.wait_for("frame 0 end")
        await answers_as_http_says(tab, picture(0))
        await tab.set_ui("Frame", 10_000)
        await tab.wait_for("frame 10000 end")
        assert (await tab.get(file_in(tab))).content == picture(10_000, pages=12_288)


async def test_an_uploaded_file_reaches_the_workers_machine_and_comes_back_on_another(
    server: Server, cluster: Machines
) -> None:
    async with tab_of(server, "upload.py") as tab:
        await tab.wait_for("has []")
        await tab.set_ui("Upload", FILE)
        await tab.wait_for("has [('sales.csv', 3000000, b'AAA')]")
        [before] = set(re.findall(r"in process (\d+)", tab.text))
        above = psutil.Process(int(before)).parents()
        nanny = next(one for one in cluster.nannies if one in above)
        for process in [nanny, *nanny.children()]:
            process.kill()
        await tab.wait_for(lambda tab: set(re.findall(r"in process (\d+)", tab.text)) != {before})
        await tab.wait_for("has [('sales.csv', 3000000, b'AAA')]")
        assert not psutil.pid_exists(int(before))


async def test_a_notebook_that_the_workers_do_not_have_is_an_error_that_names_it(
    cluster: Machines,
) -> None:
    with tempfile.TemporaryDirectory(dir=TEMPORARY) as folder:
        notebook = shutil.copy(NOTEBOOKS / "slider.py", folder)
        with Server(folder, env={"MPKERNEL_CLUSTER": cluster.address}) as server:
            async with Tab(server.url, notebook) as tab:
                await tab.wait_for(lambda tab: notebook in str(tab.received("banner")))


@pytest.mark.asyncio(loop_scope="module")
async def test_pages_say_that_they_wait_for_a_worker_until_there_is_one(page: Page) -> None:
    banner = page.locator("#mpkernel-banner")
    says = "This app runs on another machine: waits for a worker of the cluster"
    with (
        machines(0) as cluster,
        Server(NOTEBOOKS / "slider.py", env={"MPKERNEL_CLUSTER": cluster.address}) as server,
    ):
        await page.goto(server.url, wait_until="commit")
        await expect(banner).to_contain_text(says)
        async with Tab(server.url) as later:
            await later.wait_for(lambda tab: len(tab.received("banner")) == 1)
            await later.drop()
            await later.open()
            await later.wait_for(lambda tab: len(tab.received("banner")) == 2)
            said = [f"{one['title']} {one['description']}" for one in later.received("banner")]
            assert said == [says, says]
            await asyncio.to_thread(cluster.add_worker)
            await later.wait_until_run()
        await expect(page.get_by_text("number 1 squared is 1")).to_be_visible()
        await expect(banner).to_have_count(0)
        await page.goto("about:blank")
