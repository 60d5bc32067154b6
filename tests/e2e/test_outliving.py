"""Sessions come back after the end of their server: killed, stopped, started anew with another
version of the notebook."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import psutil
import pytest
from e2e.events import EventsTab, needs_server_sent_events
from e2e.harness import Tab, TabClosed, http_client, restarts_of
from e2e.outliving import Served, tab_at_seven, until_written
from waiting import PATIENCE_S

TABS = 50

both_transports = pytest.mark.parametrize(
    "new_tab", [Tab, pytest.param(EventsTab, marks=needs_server_sent_events)]
)


@pytest.fixture
def served(tmp_path: Path) -> Served:
    return Served(tmp_path, "slider.py")


async def away(tab: Tab) -> None:
    """The tab's server has ended; it forgets what came from there."""
    await tab.wait_closed()
    tab.messages.clear()
    tab._outputs.clear()


async def told_to_reload(tab: Tab) -> str:
    """Connect, and be told to reload; the session that the page then asks for."""
    opening = asyncio.create_task(tab.open())
    async with asyncio.timeout(PATIENCE_S):
        while not tab.received("reload"):
            await asyncio.sleep(0.02)
    await tab.close()
    with pytest.raises(TabClosed):
        await opening
    return str(tab.received("reload")[0]["session_id"])


def banner_of(tab: Tab) -> str:
    (description,) = restarts_of(tab)
    return description


async def test_fifty_tabs_of_a_killed_server_come_back_with_their_values(served: Served) -> None:
    async with http_client() as client:
        async with served.server() as server:
            tabs = [Tab(server.url, client=client) for _ in range(TABS)]
            await asyncio.gather(*(tab.open() for tab in tabs))
            await asyncio.gather(*(tab.wait_for("in process") for tab in tabs))
            for number, tab in enumerate(tabs, 100):
                await tab.set_ui("Number", number)
            for number, tab in enumerate(tabs, 100):
                await tab.wait_for(f"number {number} squared")
            await until_written(served, TABS)
            server.kill()
            await asyncio.gather(*(away(tab) for tab in tabs))
        async with served.server():
            await asyncio.gather(*(tab.open() for tab in tabs))
            for number, tab in enumerate(tabs, 100):
                await tab.wait_for(f"number {number} squared")
                assert tab.element("Number").value == number
                await tab.wait_for(restarts_of)
                assert banner_of(tab).startswith("The server was restarted. Inputs are as they")
            # The page's own copy of marimo's token still counts.
            await tabs[0].set_ui("Number", 1)
            await tabs[0].wait_for("number 1 squared")
            await asyncio.gather(*(tab.close() for tab in tabs))


@both_transports
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGKILL])
async def test_a_tab_comes_back_however_the_server_ended(
    served: Served, new_tab: type[Tab], sent: signal.Signals
) -> None:
    async with served.server() as server:
        new = new_tab(server.url, query={"from": "the first"})
        tab = await tab_at_seven(served, server, new)
        os.kill(server.pid, sent)
        await away(tab)
        await asyncio.to_thread(server._process.wait)
    async with served.server(), tab:
        await tab.wait_for("number 7 squared")
        await tab.wait_for(restarts_of)


async def test_a_tab_comes_back_where_all_processes_are_told_to_end_at_once(served: Served) -> None:
    """systemd does so by default: the server and its apps' processes get SIGTERM."""
    async with served.server() as server:
        tab = await tab_at_seven(served, server, Tab(server.url))
        one = psutil.Process(server.pid)
        for process in [*one.children(recursive=True), one]:
            process.terminate()
        await away(tab)
        await asyncio.to_thread(server._process.wait)
    async with served.server(), tab:
        await tab.wait_for("number 7 squared")
        await tab.wait_for(restarts_of)


async def test_with_marimo_alone_values_outlive_a_lost_connection_and_nothing_else(
    served: Served,
) -> None:
    """The last column of the table in docs/operating.md."""
    async with served.server(of_marimo=True) as server:
        tab = await Tab(server.url).open()
        await tab.wait_for("in process")
        assert f"in process {server.pid}" in tab.text  # the notebook's process is the server
        await tab.set_ui("Number", 7)
        await tab.wait_for("number 7 squared")
        await tab.close()
        await tab.open()
        await tab.set_ui("Number", 8)
        await tab.wait_for("number 8 squared")
        async with Tab(server.url) as reloaded:
            await reloaded.wait_for("number 1 squared")
        server.kill()
        await away(tab)
    async with served.server(of_marimo=True), tab:
        await tab.wait_for("number 1 squared")


async def test_nothing_comes_back_for_who_guesses_or_is_too_late(tmp_path: Path) -> None:
    served = Served(tmp_path, "slider.py", "--session-store-ttl-s", "60")
    async with served.server() as server:
        tab = await tab_at_seven(served, server)
        server.kill()
        await away(tab)
    (file,) = served.files
    os.utime(file, (time.time() - 61, time.time() - 61))
    async with served.server() as server:
        async with Tab(server.url) as stranger:
            await stranger.wait_for("number 1 squared")
            assert not stranger.received("banner")
        async with tab:
            await tab.wait_for("number 1 squared")
            assert not tab.received("banner")


@both_transports
async def test_an_edited_notebook_is_loaded_anew_with_the_values_that_still_fit(
    tmp_path: Path, new_tab: type[Tab]
) -> None:
    """A cell was changed, another put before all, and a module beside them with the cells."""
    served = Served(tmp_path, "inputs.py")
    async with served.server() as server:
        tab = await new_tab(server.url).open()
        await tab.wait_for("end")
        first = tab.elements[0]
        await tab.set_ui(first.object_id, 4)
        await tab.wait_for("4; [0, 0]")
        await until_written(served, 1)
        server.kill()
        await away(tab)
    code = served.path.read_text()
    one = "@app.cell\ndef _():\n    import helper\n\n    helper.NAME\n    return (helper,)\n\n\n"
    served.path.write_text(code.replace("@app.cell", one + "@app.cell", 1))
    (tmp_path / "helper.py").write_text("NAME = 'of the new version'\n")
    async with served.server() as server:
        former = await told_to_reload(tab)
        assert former == tab.session_id
        async with new_tab(server.url, query={"mpkernel_former": former}) as reloaded:
            await reloaded.wait_for("4; [0, 0]")
            assert "of the new version" in reloaded.text
            assert reloaded.elements[0].object_id != first.object_id
            await reloaded.wait_for(restarts_of)
            assert "Lost" not in banner_of(reloaded)


async def test_values_of_a_cell_that_was_changed_are_named(served: Served) -> None:
    async with served.server() as server:
        tab = await tab_at_seven(served, server)
        server.kill()
        await away(tab)
    code = served.path.read_text()
    served.path.write_text(code.replace('label="Number"', 'label="Of today"'))
    async with served.server() as server:
        await told_to_reload(tab)
        # A page without our script connects again by itself.
        async with tab as reloaded:
            await reloaded.wait_for("number 1 squared")
            await reloaded.wait_for(restarts_of)
            assert "Lost: what was set in cells that are not the same (number)." in banner_of(
                reloaded
            )


async def test_a_click_that_waited_for_the_killed_server_is_named_and_not_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HELD_CELL", str(tmp_path))
    served = Served(tmp_path, "held_cell.py")
    async with served.server() as server:
        clicked, moved = [await Tab(server.url).open() for _ in range(2)]
        for tab in (clicked, moved):
            await tab.wait_for("went 0")
            await tab.set_ui("go", 1)
        while not (tmp_path / "began").exists():
            await asyncio.sleep(0.02)
        await clicked.set_ui("Press", 1)
        await moved.set_ui("go", 2)
        await until_written(served, 2)
        server.kill()
        await away(clicked)
        await away(moved)
    (tmp_path / "go on").touch()
    async with served.server(), clicked, moved:
        await moved.wait_for("went 2")
        assert "a click" not in banner_of(moved)
        await clicked.wait_for("went 1")
        await clicked.wait_for(lambda tab: len(tab.received("banner")) > 1)
        assert (
            "a click that may not have been done" in clicked.received("banner")[-1]["description"]
        )
        assert "pressed 0 times" in clicked.text


@pytest.mark.parametrize("stores", ["true", "false"])
async def test_a_tab_whose_process_dies_after_a_deploy_runs_the_file_as_it_is_now(
    tmp_path: Path, stores: str
) -> None:
    """The notebook and its helper module change together, while the server goes on."""
    served = Served(tmp_path, "slider.py", "--session-store", stores)
    async with served.server() as server:
        tab = await Tab(server.url).open()
        away_tab = await Tab(server.url).open()
        for one in (tab, away_tab):
            await one.wait_for("in process")
            await one.set_ui("Number", 7)
            await one.wait_for("number 7 squared")
        await away_tab.close()
        pid = int(tab.text.rpartition("in process ")[2].split()[0])
        (tmp_path / "helper.py").write_text("NAME = 'the new helper'\n")
        code = served.path.read_text()
        code = code.replace("import os\n", "import os\n    import helper\n")
        code = code.replace("return mo, os", "return helper, mo, os")
        code = code.replace("def _(mo, number, os):", "def _(helper, mo, number, os):")
        served.path.write_text(code.replace("{os.getpid()}", "{os.getpid()} with {helper.NAME}"))
        os.kill(pid, signal.SIGKILL)
        for one in (tab, away_tab):
            if one is away_tab:
                await one.open()
            await one.wait_for(lambda tab: tab.received("reload"))
            former = one.received("reload")[0]["session_id"]
            await one.close()
            async with Tab(server.url, query={"mpkernel_former": former}) as reloaded:
                await reloaded.wait_for("number 7 squared")
                await reloaded.wait_for("with the new helper")
                await reloaded.wait_for(restarts_of)
                assert banner_of(reloaded).startswith("The notebook was changed")
