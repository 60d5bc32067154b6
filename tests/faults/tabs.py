"""Tabs of a real marimo server that must go on while something is wrong with it."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Self

from e2e.harness import NOTEBOOKS, Tab
from waiting import PATIENCE_S

NOTEBOOK = NOTEBOOKS / "recovery.py"


class Used:
    """A tab in use: every value that its slider gets is shown, every click is made once.

    Args:
        url: the server's.
        log: where the notebook writes the clicks of this tab down.
        file: the notebook's path, where several are served.
    """

    def __init__(self, url: str, log: Path, file: str | None = None) -> None:
        self.tab = Tab(url, file, query={"log": str(log), "name": "tab"})
        self._log = log
        self._number = 1
        self._clicks = 0

    async def __aenter__(self) -> Self:
        await self.tab.open()
        await self.tab.wait_until_run()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.tab.__aexit__()

    async def use(self) -> None:
        """Move the slider and click."""
        self._number += 100
        self._clicks += 1
        await self.tab.set_ui("Number", self._number)
        await self.shows_all()
        await self.tab.set_ui("Quick", 1)
        async with asyncio.timeout(PATIENCE_S):
            while len(self._noted()) < self._clicks:
                await asyncio.sleep(0.02)
        assert len(self._noted()) == self._clicks

    async def shows_all(self) -> None:
        """Wait until the tab shows what it should."""
        await self.tab.wait_for(f"tab has {self._number} in process")
        assert self.tab.close_code is None

    async def comes_back_from(self, died: int) -> None:
        """Wait until another process than this shows the same."""
        await self.tab.wait_for(lambda tab: f"in process {died} end" not in tab.text)
        await self.shows_all()

    def _noted(self) -> list[str]:
        return self._log.read_text().splitlines() if self._log.exists() else []

    @property
    def process(self) -> int:
        """The process in which the tab's kernel runs."""
        found = re.search(r"in process (\d+) end", self.tab.text)
        assert found is not None, self.tab.text
        return int(found[1])
