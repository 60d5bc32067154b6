"""mpkernel finds what a notebook has cached under plain marimo, and the other way round."""

from __future__ import annotations

import sys
from pathlib import Path

from e2e.harness import NOTEBOOKS, PROGRAM, Server, Tab

MARIMO = (sys.executable, "-m", "marimo", "run")


async def test_the_keys_of_a_cache_are_those_of_plain_marimo(tmp_path: Path) -> None:
    """The notebook uses what mpkernel replaces: `time.sleep`, waits and threads."""
    keys = []
    for program in (MARIMO, PROGRAM):
        cache = tmp_path / program[2]
        env = {"CACHE": str(cache)}
        server = Server(NOTEBOOKS / "cached.py", program=program, env=env)
        async with server, Tab(server.url) as tab:
            await tab.wait_for(" end")
        found = [str(path.relative_to(cache)) for path in cache.rglob("*") if path.is_file()]
        keys.append(sorted(found))
    assert len(keys[0]) >= 2
    assert keys[0] == keys[1]
