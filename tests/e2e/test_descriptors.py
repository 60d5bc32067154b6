"""What cells write past `sys`: to the browser of the tab that ran, and of no other."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest
from e2e.harness import NOTEBOOKS, Server, Tab

NOTEBOOK = NOTEBOOKS / "descriptors.py"
WRITERS = ("os.write", "printf", "subprocess")


async def run_round(tab: Tab, number: int) -> None:
    runs = tab.completed_runs
    await tab.set_ui("Round", number)
    await tab.wait_for(f"round {number} done")
    await tab.wait_until_run(runs + 1)


def written(token: str, number: int) -> list[str]:
    return [f"{writer} of {token} {number}\n" for writer in WRITERS]


@pytest.fixture(scope="module")
def redirecting() -> Iterator[Server]:
    """One that sends to the browser what cells write. Its log is that of all tests: each has tokens
    of its own."""
    with Server(NOTEBOOK, options=["--redirect-console-to-browser"]) as server:
        yield server


async def test_what_c_code_and_subprocesses_write_reaches_the_tab_that_ran(
    redirecting: Server,
) -> None:
    async with AsyncExitStack() as stack:
        # One after the other: of what both write at the same time nobody can tell whose it is.
        amber = await stack.enter_async_context(Tab(redirecting.url, query={"token": "amber"}))
        await amber.wait_until_run()
        violet = await stack.enter_async_context(Tab(redirecting.url, query={"token": "violet"}))
        await violet.wait_until_run()
        for number in (1, 2):
            for tab, token in ((amber, "amber"), (violet, "violet")):
                await run_round(tab, number)
                lines = written(token, number)
                await tab.wait_for(lambda tab, lines=lines: all(x in tab.console for x in lines))
        assert not re.search(r"of violet [12]", amber.console)
        assert not re.search(r"of amber [12]", violet.console)
        for line in written("amber", 2):
            await asyncio.to_thread(redirecting.wait_for_output, f"[descriptors.py] {line}")


async def test_it_is_shown_under_the_cell_that_wrote_it(redirecting: Server) -> None:
    async with Tab(redirecting.url, query={"token": "green"}) as tab:
        await tab.wait_until_run()
        await run_round(tab, 1)
        await tab.wait_for(lambda tab: written("green", 1)[-1] in tab.console)
        shown = {
            (message["cell_id"], part["channel"])
            for message in tab.received("cell-op")
            for part in as_list(message["console"])
            if "of green" in part["data"]
        }
    assert len({cell for cell, _ in shown}) == 1
    assert {channel for _, channel in shown} == {"stdout", "stderr"}


async def test_it_is_in_the_log_and_on_the_page_where_that_is_asked_for(
    redirecting: Server,
) -> None:
    assert "of blue 1" in await seen_on_the_page(redirecting, "blue")


async def test_it_is_in_the_log_alone_where_that_is_not_asked_for() -> None:
    async with Server(NOTEBOOK) as server:
        assert "of blue 1" not in await seen_on_the_page(server, "blue")


async def seen_on_the_page(server: Server, token: str) -> str:
    """The text of a first round in a tab's console, after that round is in the log and a second one
    ran."""
    async with Tab(server.url, query={"token": token}) as tab:
        await tab.wait_until_run()
        await run_round(tab, 1)
        await asyncio.to_thread(server.wait_for_output, f"subprocess of {token} 1")
        await run_round(tab, 2)
        return tab.console


def as_list(console: object) -> list[dict[str, str]]:
    if not console:
        return []
    return console if isinstance(console, list) else [console]  # type: ignore[list-item]
