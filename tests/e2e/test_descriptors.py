"""What cells write past `sys`: to the browser of the tab that ran, and of no other."""

from __future__ import annotations

import asyncio
import re
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


async def test_what_c_code_and_subprocesses_write_reaches_the_tab_that_ran() -> None:
    with Server(NOTEBOOK, options=["--redirect-console-to-browser"]) as server:
        async with AsyncExitStack() as stack:
            # One after the other: of what both write at the same time nobody can tell whose it is.
            amber = await stack.enter_async_context(Tab(server.url, query={"token": "amber"}))
            await amber.wait_until_run()
            violet = await stack.enter_async_context(Tab(server.url, query={"token": "violet"}))
            await violet.wait_until_run()
            for number in (1, 2):
                for tab, token in ((amber, "amber"), (violet, "violet")):
                    await run_round(tab, number)
                    lines = written(token, number)
                    await tab.wait_for(
                        lambda tab, lines=lines: all(x in tab.console for x in lines)
                    )
            assert not re.search(r"of violet [12]", amber.console)
            assert not re.search(r"of amber [12]", violet.console)
            for line in written("amber", 2):
                await asyncio.to_thread(server.wait_for_output, f"[descriptors.py] {line}")


async def test_it_is_shown_under_the_cell_that_wrote_it() -> None:
    with Server(NOTEBOOK, options=["--redirect-console-to-browser"]) as server:
        async with Tab(server.url, query={"token": "amber"}) as tab:
            await tab.wait_until_run()
            await run_round(tab, 1)
            await tab.wait_for(lambda tab: written("amber", 1)[-1] in tab.console)
            shown = {
                (message["cell_id"], part["channel"])
                for message in tab.received("cell-op")
                for part in as_list(message["console"])
                if "of amber" in part["data"]
            }
    assert len({cell for cell, _ in shown}) == 1
    assert {channel for _, channel in shown} == {"stdout", "stderr"}


@pytest.mark.parametrize("options", [(), ("--redirect-console-to-browser",)])
async def test_it_is_always_in_the_log_and_on_the_page_where_that_is_asked_for(
    options: tuple[str, ...],
) -> None:
    with Server(NOTEBOOK, options=options) as server:
        async with Tab(server.url, query={"token": "amber"}) as tab:
            await tab.wait_until_run()
            await run_round(tab, 1)
            await asyncio.to_thread(server.wait_for_output, "subprocess of amber 1")
            await run_round(tab, 2)
            assert bool(options) == ("of amber 1" in tab.console)


def as_list(console: object) -> list[dict[str, str]]:
    if not console:
        return []
    return console if isinstance(console, list) else [console]  # type: ignore[list-item]
