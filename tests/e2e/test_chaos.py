"""Random faults of all kinds against several apps with many tabs: no tab is lost and none waits,
and nothing is left behind.

A minute by default; for longer:

    MPKERNEL_TEST_CHAOS_S=600 python -m pytest -s -o faulthandler_timeout=0 tests/e2e/test_chaos.py

`MPKERNEL_TEST_CHAOS_SEED` repeats a run's choices. Each app has its faults one after the other, at
the same time as the other apps have theirs.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from e2e.chaos import ChaoticApp
from e2e.chaos_runs import NOTEBOOK, SEED, settled, what_is_left
from e2e.harness import Server

APPS = 5
SPREAD = """
[[tool.mpkernel.apps]]
path = "app[34].py"
processes_max = 3
sessions_per_process = 2
"""
SECONDS = float(os.environ.get("MPKERNEL_TEST_CHAOS_S", "60"))


@pytest.fixture
def places() -> Iterator[Path]:
    """Where the server keeps its socket and its temporary files. The path of a socket is short."""
    with tempfile.TemporaryDirectory(prefix="chaos-") as path:
        for name in ("run", "tmp"):
            Path(path, name).mkdir(mode=0o700)
        yield Path(path)


@pytest.mark.timeout(SECONDS + 600)
async def test_no_tab_is_lost_and_nothing_is_left(
    tmp_path: Path, places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    print(f"MPKERNEL_TEST_CHAOS_SEED={SEED}")
    for number in range(APPS):
        shutil.copy(NOTEBOOK, tmp_path / f"app{number}.py")
    (tmp_path / "pyproject.toml").write_text(SPREAD)
    # Of the test too, which looks there for the server's control socket.
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(places / "run"))
    async with Server(
        tmp_path,
        cwd=tmp_path,
        options=("--session-ttl", "5"),
        env={"TMPDIR": str(places / "tmp")},
        standby=True,
    ) as server:
        descriptors = psutil.Process(server.pid).num_fds()
        apps = [
            ChaoticApp(tmp_path / f"app{number}.py", server, SEED + number)
            for number in range(APPS)
        ]
        for app in apps:
            await app.open()
        assert [len({one.pid for one in app.victims}) > 1 for app in apps] == [False] * 3 + [
            True
        ] * 2
        end = time.monotonic() + SECONDS
        async with asyncio.TaskGroup() as group:
            for app in apps:
                group.create_task(app.suffer(end))
        print(Counter(fault for app in apps for fault in app.faults))
        for app in apps:
            await app.check()
        for app in apps:
            await app.close()
        await settled(lambda: what_is_left(server, descriptors))
    left = [path for path in places.rglob("*") if not path.is_dir() or path.parent.name == "tmp"]
    assert [path for path in left if not is_trial_of_tempfile(path)] == []


def is_trial_of_tempfile(path: Path) -> bool:
    """Whether this is the file with which Python's `tempfile` tries whether it can write into a
    directory. It has no prefix, and a process that is killed at that moment leaves it."""
    return len(path.name) == 8 and path.is_file() and path.read_bytes() in (b"", b"blat")
