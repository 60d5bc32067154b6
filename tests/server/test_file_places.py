"""How many virtual files a process may have: a number of its own, and besides as many as are free,
so that room for the next process is left."""

from __future__ import annotations

import asyncio
import os

import pytest

from mpkernel.server.hosts.announced_files import AnnouncedFiles
from mpkernel.wire.messages import FileStored
from shm import QuotaExceeded, Registry
from shm.names import ProcessTag, own_tag


class AnApp:
    """The files of an app, which announces as many as it can."""

    def __init__(self, registry: Registry, number: int) -> None:
        tag = own_tag()
        self.tag = ProcessTag(tag.namespace, os.getpid(), tag.start + number)
        self.files = AnnouncedFiles(
            registry,
            self.tag,
            asyncio.get_running_loop(),
            lambda keys: None,
            app="/app.py",
            mapped_age_s=30.0,
        )
        self.count = 0

    def store(self) -> None:
        name = f"{self.tag.prefix}{self.count}"
        self.files.stored(1, FileStored(name, "block", name, 1, "text/plain"))
        self.count += 1

    def store_all(self) -> int:
        try:
            while True:
                self.store()
        except QuotaExceeded:
            return self.count


async def test_apps_that_take_what_they_can_leave_room_for_the_next() -> None:
    registry = Registry(max_files=1000)
    apps = [AnApp(registry, number) for number in range(9)]
    counts = [app.store_all() for app in apps]
    assert counts[0] == 500
    assert all(counts)
    newcomer = AnApp(registry, 9)
    newcomer.store()
    apps.append(newcomer)
    apps[0].files.release_host()
    assert newcomer.store_all() > 200
    for app in apps:
        app.files.release_host()


async def test_the_refusal_says_how_many_there_are() -> None:
    app = AnApp(Registry(max_files=10), 0)
    for _ in range(5):
        app.store()
    with pytest.raises(QuotaExceeded, match="has 5 virtual files, and there is room for 5 more"):
        app.store()
    app.files.release_host()


async def test_however_many_take_what_they_can_the_next_has_what_is_its_own() -> None:
    registry = Registry(max_files=1000, host_files=20)
    greedy = [AnApp(registry, number) for number in range(40)]
    for _ in range(2):  # the second time each looks for what others left
        for app in greedy:
            app.store_all()
    modest = AnApp(registry, len(greedy))
    for _ in range(20):
        modest.store()
    with pytest.raises(QuotaExceeded, match="each process may have 20"):
        modest.store()
    assert len(registry) <= 1000 + 41 * 20
    for app in (*greedy, modest):
        app.files.release_host()


async def test_what_a_process_has_for_itself_is_its_own_again_when_its_files_have_ended() -> None:
    registry = Registry(max_files=10, host_files=3)
    greedy = [AnApp(registry, number) for number in range(5)]
    for app in greedy:
        app.store_all()
    greedy[0].files.release_session(1)
    rest = greedy[1:]
    for app in rest:
        with pytest.raises(QuotaExceeded):
            while True:
                app.store()
    for _ in range(3):
        greedy[0].store()
    for app in greedy:
        app.files.release_host()
