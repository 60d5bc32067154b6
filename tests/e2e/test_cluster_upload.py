"""marimo's notebooks on workers that do not have them: the server sends their folder."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from dask_backend.machines import Machines, machines
from e2e.harness import Server, Tab
from waiting import LONG_PATIENCE_S

NOTEBOOK = """
import marimo

app = marimo.App()


@app.cell
def _():
    import os

    import beside
    import marimo as mo

    return beside, mo, os


@app.cell
def _(mo):
    number = mo.ui.slider(0, 1000, value=1, label="Number")
    number
    return (number,)


@app.cell
def _(beside, mo, number, os):
    data = (mo.notebook_dir() / "data.txt").read_text()
    own = os.path.basename(__file__), os.path.dirname(__file__) == str(mo.notebook_dir())
    mo.md(f"{beside.NAME} number {number.value} data {data} own {own} in process {os.getpid()}")
    return


if __name__ == "__main__":
    app.run()
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Machines]:
    with machines(2) as cluster:
        yield cluster


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    """In a folder that no worker has."""
    path = tmp_path / "notebooks" / "sales.py"
    path.parent.mkdir()
    path.write_text(NOTEBOOK)
    path.with_name("beside.py").write_text("NAME = 'first'\n")
    path.with_name("data.txt").write_text("42")
    return path


def process_of(tab: Tab) -> int:
    (found,) = set(re.findall(r"in process (\d+)", tab.text))
    return int(found)


def env_of(cluster: Machines, **others: str) -> dict[str, str]:
    return {"MPKERNEL_CLUSTER": cluster.address, **others}


async def test_a_notebook_runs_on_a_worker_that_does_not_have_it_and_comes_back_on_another(
    cluster: Machines, notebook: Path
) -> None:
    env = env_of(cluster, MPKERNEL_CLUSTER_UPLOAD="true")
    async with (
        Server(notebook.parent, env=env) as server,
        Tab(server.url, str(notebook)) as tab,
    ):
        await tab.wait_for("first number 1 data 42 own ('sales.py', True)", LONG_PATIENCE_S)
        await tab.set_ui("Number", 7)
        await tab.wait_for("first number 7 ")
        before = process_of(tab)
        nanny = next(one for one in cluster.nannies if one in psutil.Process(before).parents())
        for process in [nanny, *nanny.children()]:
            process.kill()
        await tab.wait_for(lambda tab: f"in process {before}" not in tab.text, LONG_PATIENCE_S)
        await tab.wait_for("first number 7 data 42 own ('sales.py', True)")


async def test_with_watch_a_page_that_reloads_gets_a_new_process_with_what_has_changed(
    cluster: Machines, notebook: Path
) -> None:
    options = ("--watch", "--cluster-upload")
    async with Server(notebook, options=options, env=env_of(cluster)) as server:
        async with Tab(server.url) as tab:
            await tab.wait_for("first number 1 ", LONG_PATIENCE_S)
            before = process_of(tab)
            notebook.with_name("beside.py").write_text("NAME = 'second'\n")
            notebook.write_text(NOTEBOOK.replace("} number {", "} count {"))
            await tab.wait_for(lambda tab: tab.received("reload"))
        async with Tab(server.url) as reloaded:
            await reloaded.wait_for("second count 1 data 42", LONG_PATIENCE_S)
            assert process_of(reloaded) != before


async def test_a_folder_that_is_too_large_is_an_error_on_the_page(
    cluster: Machines, notebook: Path
) -> None:
    notebook.with_name("large.bin").write_bytes(bytes(2**20))
    env = env_of(cluster, MPKERNEL_CLUSTER_UPLOAD="true", MPKERNEL_CLUSTER_UPLOAD_BYTES="1MiB")
    async with Server(notebook.parent, env=env) as server, Tab(server.url, str(notebook)) as tab:
        said = f"{notebook.parent} cannot be sent to a worker: its files have "
        await tab.wait_for(lambda tab: said in str(tab.received("banner")), LONG_PATIENCE_S)
