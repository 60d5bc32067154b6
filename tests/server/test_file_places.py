"""How many virtual files an app may have: as many as are free, so that the next has room too."""

from __future__ import annotations

import asyncio
import os

import pytest

from mpkernel.server.files import AnnouncedFiles
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
