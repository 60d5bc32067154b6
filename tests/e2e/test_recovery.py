"""A notebook's process dies: every tab is restored as it was, over its existing connection."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from e2e.harness import (
    EXAMPLES,
    NOTEBOOKS,
    Element,
    Server,
    Tab,
    TabClosed,
    http_client,
    restarts_of,
)
from waiting import LONG_PATIENCE_S, PATIENCE_S

RECOVERY = NOTEBOOKS / "recovery.py"
WEATHER = str(EXAMPLES / "weather" / "stations.py")
DEATHS = ("SIGKILL", "SIGSEGV", "SIGABRT", "exit")
OTHER_DEATHS = [pytest.param(name, marks=pytest.mark.any_marimo) for name in DEATHS[1:]]
GUILTY = "The last action in this tab ended it, and was left out."


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Path]]:
    """A server, and the folder that it serves: in it, each test that uses it has its notebook."""
    folder = tmp_path_factory.mktemp("shared")
    for test in (*DEATHS, "clicks", "guilty"):
        (folder / test).mkdir()
        shutil.copy(RECOVERY, folder / test)
    with Server(folder, EXAMPLES, standby=True) as server:
        yield server, folder


@contextlib.asynccontextmanager
async def numbered_tabs(
    server: Server, log: Path, count: int = 10, notebook: Path = RECOVERY
) -> AsyncIterator[list[Tab]]:
    """Tabs of the notebook, each with a name and a number of its own."""
    async with http_client() as client, contextlib.AsyncExitStack() as stack:
        queries = [{"log": str(log), "name": f"tab{i}"} for i in range(count)]
        tabs = [Tab(server.url, str(notebook), query=query, client=client) for query in queries]
        for tab in tabs:
            await stack.enter_async_context(tab)
        for number, tab in enumerate(tabs, start=100):
            await tab.wait_until_run()
            await tab.set_ui("Number", number)
            await tab.wait_for(f"has {number} in")
        yield tabs


def process_of(tab: Tab) -> int:
    found = re.search(r"in process (\d+) end", tab.text)
    assert found is not None, tab.text
    return int(found[1])


async def wait_until_back(tabs: list[Tab], died: int) -> None:
    """Wait until every tab shows its own number, in text and slider, from another process."""
    for number, tab in enumerate(tabs, start=100):
        await tab.wait_for(lambda tab: f"in process {died} end" not in tab.text)
        await tab.wait_for(f"tab{number - 100} has {number} in process")
        assert tab.element("Number").value == number
        assert tab.close_code is None


async def click(tab: Tab, button: str) -> None:
    """A button's value is the count of its clicks."""
    await tab.set_ui(button, 1)


async def wait_for_lines(log: Path, count: int) -> list[str]:
    async with asyncio.timeout(PATIENCE_S):
        while not log.exists() or len(log.read_text().splitlines()) < count:
            await asyncio.sleep(0.02)
    return sorted(log.read_text().splitlines())


@pytest.mark.parametrize("death", ["SIGKILL", *OTHER_DEATHS])
async def test_ten_tabs_come_back_with_their_values_and_no_click_is_made_again(
    death: str, tmp_path: Path, shared: tuple[Server, Path]
) -> None:
    log = tmp_path / "log"
    server, folder = shared
    notebook = folder / death / "recovery.py"
    async with (
        Tab(server.url, WEATHER) as other,
        numbered_tabs(server, log, notebook=notebook) as tabs,
    ):
        await other.wait_for("runs in process")
        for tab in tabs:
            await click(tab, "Quick")
        clicked = await wait_for_lines(log, 10)
        died = process_of(tabs[0])
        if death == "SIGKILL":
            os.kill(died, signal.SIGKILL)
        else:
            await tabs[3].set_ui("Action", [death])
        await wait_until_back(tabs, died)
        assert len({process_of(tab) for tab in tabs}) == 1
        for tab in tabs:
            await tab.wait_for(restarts_of)
            (description,) = restarts_of(tab)
            assert (GUILTY in description) is (tab is tabs[3] and death != "SIGKILL")
            assert tab.element("Action").value == ["nothing"]
        await click(tabs[0], "Quick")
        assert await wait_for_lines(log, 11) == sorted([*clicked, "tab0 quick"])
        assert not other.received("banner")
        await other.set_ui("Station", ["Summit"])
        await other.wait_for("Summit at")
        said = rf"session restarted: the process of recovery.py.* app={notebook} "
        assert re.search(said, server.output())


@pytest.mark.any_marimo
async def test_ten_tabs_of_a_stopped_process_come_back(tmp_path: Path) -> None:
    env = {"MPKERNEL_PING_INTERVAL_S": "0.2", "MPKERNEL_PING_TIMEOUT_S": "1.5"}
    async with (
        Server(RECOVERY, env=env) as server,
        numbered_tabs(server, tmp_path / "log") as tabs,
    ):
        died = process_of(tabs[0])
        os.kill(died, signal.SIGSTOP)
        await wait_until_back(tabs, died)
        assert "did not answer" in server.output()


@pytest.mark.any_marimo
async def test_ten_tabs_of_a_process_over_its_memory_limit_come_back(tmp_path: Path) -> None:
    limit_bytes = 700 * 2**20
    env = {"MPKERNEL_MEMORY_HARD_BYTES": str(limit_bytes), "MPKERNEL_WATCH_INTERVAL_S": "0.1"}
    async with (
        Server(RECOVERY, env=env) as server,
        numbered_tabs(server, tmp_path / "log") as tabs,
    ):
        died = process_of(tabs[0])
        await tabs[3].set_ui("Action", ["memory"])
        await wait_until_back(tabs, died)
        assert "memory_hard_bytes is 700 MiB" in server.output()
        for tab in tabs:
            await tab.set_ui("Number", 7)
            await tab.wait_for("has 7 in process")


async def test_a_click_that_ran_is_not_made_again_and_one_that_waited_is_made_once(
    tmp_path: Path, shared: tuple[Server, Path]
) -> None:
    log = tmp_path / "log"
    server, folder = shared
    async with numbered_tabs(server, log, 2, folder / "clicks" / "recovery.py") as tabs:
        await click(tabs[1], "Slow")
        await wait_for_lines(log, 1)
        await click(tabs[1], "Quick")
        await tabs[1].set_ui("Number", 500)
        died = process_of(tabs[0])
        os.kill(died, signal.SIGKILL)
        await tabs[1].wait_for("has 500 in process")
        assert tabs[1].element("Number").value == 500
        assert await wait_for_lines(log, 2) == ["tab1 quick", "tab1 slow"]
        await wait_until_back(tabs[:1], died)
        await click(tabs[0], "Quick")
        assert await wait_for_lines(log, 3) == ["tab0 quick", "tab1 quick", "tab1 slow"]


@pytest.mark.any_marimo
async def test_a_tab_that_ends_the_app_again_and_again_is_closed_alone(
    tmp_path: Path, shared: tuple[Server, Path]
) -> None:
    server, folder = shared
    notebook = folder / "guilty" / "recovery.py"
    async with numbered_tabs(server, tmp_path / "log", notebook=notebook) as tabs:
        guilty = tabs[4]
        for time in (1, 2):
            died = process_of(guilty)
            await guilty.set_ui("Number", 99)
            await wait_until_back(tabs, died)
            assert GUILTY in restarts_of(guilty)[time - 1]
        died = process_of(guilty)
        await guilty.set_ui("Number", 99)
        await guilty.wait_closed()
        assert "This app stopped" in [banner["title"] for banner in guilty.received("banner")]
        for number, tab in enumerate(tabs, start=100):
            if tab is guilty:
                continue
            await tab.wait_for(lambda tab: f"in process {died} end" not in tab.text)
            await tab.wait_for(f"has {number} in process")
            assert GUILTY not in str(tab.received("banner"))
            assert tab.close_code is None


BUSY = """
import marimo

app = marimo.App()


@app.cell
def _():
    import os
    import time

    import marimo as mo

    number = mo.ui.slider(0, 9, label="Number")
    number
    return mo, number, os, time


@app.cell
def _(mo, number, os, time):
    if number.value:
        with open({log!r}, "a") as log:
            log.write("busy\\n")
    while number.value and not os.path.exists({gate!r}):
        time.sleep(0.01)
    mo.md(f"has {{number.value}} in process {{os.getpid()}} end")
    return


if __name__ == "__main__":
    app.run()
"""


async def test_tabs_that_come_back_one_by_one_are_told_how_many_are_back(tmp_path: Path) -> None:
    notebook, gate, log = tmp_path / "busy.py", tmp_path / "gate", tmp_path / "log"
    notebook.write_text(BUSY.format(gate=str(gate), log=str(log)))
    async with Server(notebook) as server, contextlib.AsyncExitStack() as stack:
        tabs = [await stack.enter_async_context(Tab(server.url, str(notebook))) for _ in range(3)]
        for tab in tabs:
            await tab.wait_until_run()
        died = process_of(tabs[0])
        for tab in tabs:
            await tab.set_ui("Number", 5)
        await wait_for_lines(log, 3)
        os.kill(died, signal.SIGKILL)

        def banners(tab: Tab) -> list[tuple[str, str]]:
            return [(one["title"], one["description"]) for one in tab.received("banner")]

        waiting = (
            "This app is being restarted:",
            "0 of 3 tabs are back, this one waits for its turn.",
        )
        async with asyncio.timeout(PATIENCE_S):
            while sum(waiting in banners(tab) for tab in tabs) < 2:
                await asyncio.sleep(0.02)
        gate.touch()
        for tab in tabs:
            await tab.wait_for(lambda tab: f"in process {died} end" not in tab.text)
            await tab.wait_for("has 5 in process")
            assert banners(tab)[-1][0] == "This app was restarted"
        assert min(len(banners(tab)) for tab in tabs) == 1


DIES_AT_ITS_START = """
import marimo

app = marimo.App()


@app.cell
def _():
    import os

    with open({log!r}, "a") as log:
        log.write(f"{{os.getpid()}}\\n")  # two tabs may come this far in one process
    os._exit(7)
    return


if __name__ == "__main__":
    app.run()
"""


async def test_a_notebook_that_dies_at_its_start_is_given_up_and_new_tabs_are_told(
    tmp_path: Path,
) -> None:
    log, notebook = tmp_path / "log", tmp_path / "dies.py"
    notebook.write_text(DIES_AT_ITS_START.format(log=str(log)))

    async def retry(server: Server) -> str:
        """Open the page again and again until it says why it cannot be; what it says."""
        async with http_client() as client:
            while True:
                tab = Tab(server.url, str(notebook), client=client)
                try:
                    await tab.open()
                    await tab.wait_closed()
                except TabClosed:
                    if refusals := tab.received("kernel-startup-error"):
                        return str(refusals[0]["error"])
                    raise

    async with Server(notebook, NOTEBOOKS, standby=True) as server:
        async with asyncio.timeout(LONG_PATIENCE_S):
            reasons = await asyncio.gather(*(retry(server) for _ in range(20)))
        for reason in reasons:
            assert "dies.py ended again and again" in reason
            assert "left with exit code 7" in reason
            assert re.search(r"try again in \d+ s", reason)
        assert len(set(log.read_text().split())) <= 6
        async with Tab(server.url, str(NOTEBOOKS / "slider.py")) as other:
            await other.wait_for("number 1 squared")


async def test_a_notebook_that_dies_once_at_its_start_runs_once_more_and_says_so(
    tmp_path: Path,
) -> None:
    notebook = tmp_path / "dies_once.py"
    code = DIES_AT_ITS_START.format(log=str(tmp_path / "log"))
    died = f"os.path.exists({str(tmp_path / 'died')!r}) or [os.mkdir({str(tmp_path / 'died')!r}), "
    notebook.write_text(code.replace("os._exit(7)", f"{died}os._exit(7)]"))
    async with Server(notebook) as server, Tab(server.url, str(notebook)) as tab:
        await tab.wait_for(restarts_of)
        await tab.wait_until_run()
        (description,) = restarts_of(tab)
        assert "Its process ended while the cells ran. They run once more." in description


def inner_sliders(tab: Tab) -> list[Element]:
    return [element for element in tab.elements if element.label == "Inner"]


async def test_what_was_set_in_embedded_apps_comes_back(tmp_path: Path) -> None:
    """In an app that a module makes, and in a clone of it that a cell makes."""
    for name in ("embedding.py", "embedded.py"):
        code = (NOTEBOOKS / "fidelity" / name).read_text()
        process = "in process {__import__('os').getpid()} end"
        (tmp_path / name).write_text(code.replace("['product']} end", "['product']} " + process))
    async with Server(tmp_path) as server, Tab(server.url, str(tmp_path / "embedding.py")) as tab:
        await tab.wait_for("outer sees 2 in process")
        await tab.wait_for(lambda tab: len(inner_sliders(tab)) == 2)
        of_module, of_clone = inner_sliders(tab)
        await tab.set_ui(of_module.object_id, 4)
        await tab.wait_for("outer sees 8 in process")
        await tab.set_ui(of_clone.object_id, 5)
        await tab.wait_for("inner product 10 end")
        died = process_of(tab)
        os.kill(died, signal.SIGKILL)
        await tab.wait_for(restarts_of)
        await tab.wait_for(lambda tab: process_of(tab) != died)
        await tab.wait_for(lambda tab: [one.value for one in inner_sliders(tab)] == [4, 5])
        await tab.wait_for("inner product 10 end")
        assert "outer sees 8 in process" in tab.text
        assert "Lost" not in restarts_of(tab)[0]


async def test_a_widget_that_a_cell_shows_comes_back_and_what_does_not_is_named() -> None:
    async with Server(NOTEBOOKS / "raw_widgets.py") as server, Tab(server.url) as tab:
        await tab.wait_for("0: 0 and 0 in process")
        for opened in tab.received("model-lifecycle"):
            state = opened["message"]["state"]
            for trait in {"count", "value"} & set(state):
                update = {"method": "update", "state": {trait: 7}, "bufferPaths": []}
                body = {"modelId": opened["model_id"], "message": update, "buffers": []}
                assert (await tab.post("api/kernel/set_model_value", body)).is_success
        await click(tab, "Look")
        await tab.wait_for("1: 7 and 7 in process")
        died = process_of(tab)
        os.kill(died, signal.SIGKILL)
        await tab.wait_for(restarts_of)
        lost = "Lost: the state of widgets that are parts of others."
        assert lost in restarts_of(tab)[0]
        await tab.wait_for(lambda tab: process_of(tab) != died)
        await click(tab, "Look")
        await tab.wait_for("1: 7 and 0 in process")
