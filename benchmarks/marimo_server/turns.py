"""Measures tabs in several servers by turns, each time with a notebook that no turn had before."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeAlias

from ..contenders import Figures
from ..measure import Measure
from ..suite import Run
from .process import Server
from .programs import Notebooks, serve, until_quiet
from .tab import Tab

__all__ = ["measure_by_turns", "moved"]

Turn: TypeAlias = Callable[[Run, Server, Notebooks, int], Awaitable[Figures]]


async def measure_by_turns(
    run: Run, names: Sequence[str], measures: Mapping[str, Measure], turn: Turn, apps: int = 1
) -> None:
    """Let each server have its turns.

    Args:
        run: says how often, and in which order.
        names: the servers.
        measures: get what a turn gives, by its name.
        turn: measures one server, with the notebook of this number, and of this number plus
            `repetitions` if it needs another one, and so on.
        apps: how many notebooks a turn needs.
    """
    turns: dict[str, int] = dict.fromkeys(names, 0)
    async with serve(names, apps * run.options.repetitions) as (servers, notebooks):
        for name in run.by_turns(names, str):
            await until_quiet(servers[name])
            figures = await turn(run, servers[name], notebooks, turns[name])
            turns[name] += 1
            for figure, value in figures.items():
                measures[figure].add(name, value)


async def moved(tab: Tab, value: int) -> float:
    """Move the slider of a tab. Returns how many seconds it took until the tab shows that."""
    began = time.perf_counter()
    await tab.set_ui("Number", value)
    await tab.wait_for(f"number {value} in", timeout_s=120)
    return time.perf_counter() - began
