"""Sessions, hosts and servers are ended at random moments, while files are made and removed:
nothing is left."""

from __future__ import annotations

import os
import random
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from descendants import command_of
from server.conftest import APPS

from shm.names import owner_of

KILLS = 50
SEEDS = range(10)  # 500 kills in all
APP_COUNT = 3
SERVER = Path(__file__).with_name("file_server.py")


class FileServer:
    """The server and what it takes to end any part of it."""

    def __init__(self, apps: list[str]) -> None:
        self.apps = apps
        self.before = left_behind()
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, SERVER, *self.apps],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        self.wait_for_files(1)

    def wait_for_files(self, count: int) -> None:
        assert self.process.stdout is not None
        for _ in range(count):
            assert self.process.stdout.readline(), "the server ended by itself"

    def descendants(self) -> list[psutil.Process]:
        try:
            return psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def hosts(self) -> list[psutil.Process]:
        return [one for one in self.descendants() if "spawn_main" in command_of(one)]

    def close_a_session(self, app: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{app}\n".encode())
        self.process.stdin.flush()

    def kill(self) -> None:
        """End the server alone; its hosts notice."""
        orphans = self.descendants()
        self.process.kill()
        self._reap(orphans)

    def stop(self) -> None:
        orphans = self.descendants()
        self.process.send_signal(signal.SIGINT)
        self._reap(orphans)

    def _reap(self, orphans: list[psutil.Process]) -> None:
        try:
            self.process.communicate(timeout=30)
            for process in orphans:
                assert has_ended(process), "a host outlives its server"
        finally:
            self.process.kill()
            for process in orphans:
                if process.is_running():
                    process.kill()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FileServer]:
    apps = []
    for number in range(APP_COUNT):
        app = tmp_path / str(number) / "files.py"
        app.parent.mkdir()
        shutil.copy(APPS / "files.py", app)
        apps.append(str(app))
    server = FileServer(apps)
    try:
        yield server
    finally:
        server.kill()


def has_ended(process: psutil.Process) -> bool:
    """Wait for a process that is not ours; whoever adopted it may take its time to reap it."""
    try:
        fd = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([fd], [], [], 30)[0]) or not process.is_running()
    finally:
        os.close(fd)


def killed(process: psutil.Process) -> bool:
    """End a process. Returns whether it had not ended by itself."""
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return False
    return True


def left_behind() -> set[str]:
    """What processes that have ended have left behind."""
    return {
        name
        for directory in ("/dev/shm", tempfile.gettempdir())
        for name in os.listdir(directory)
        if (owner := owner_of(name)) is not None and not owner.may_live
    }


@pytest.mark.parametrize("seed", SEEDS)
def test_fifty_kills_leave_no_block(server: FileServer, seed: int) -> None:
    choose = random.Random(seed)
    targets = ["session"] * 20 + ["host"] * 25 + ["server"] * 5
    assert len(targets) == KILLS
    choose.shuffle(targets)
    done: Counter[str] = Counter()
    while targets:
        server.wait_for_files(choose.randrange(1, 40))
        if targets[-1] == "session":
            server.close_a_session(choose.choice(server.apps))
        elif targets[-1] == "server":
            server.kill()
            server.start()
        elif not (hosts := server.hosts()) or not killed(choose.choice(hosts)):
            continue
        done[targets.pop()] += 1
    server.stop()
    assert left_behind() - server.before == set()
    assert done == {"session": 20, "host": 25, "server": 5}
