"""A journal of a user's own that fails, or says what no message can carry: the other sessions, and
operators, notice nothing."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from server.conftest import APPS
from server.operators import user_directories
from server.store.stored import files_in
from server.test_journal import Smallest
from waiting import until_async

from mpkernel import Channel, HostPool, KernelSpec, Settings
from mpkernel.errors import MPKernelError
from mpkernel.server.operations.crashes import kept_reports, read_report
from mpkernel.server.operations.finding import published_servers
from mpkernel.server.store.records import content_of

APP = APPS / "kernels.py"
ECHO = KernelSpec(entry="kernels:echo")
NAMED_IN_LATIN_1 = "reads caf\udce9.csv"
ESCAPED = "reads caf\\udce9.csv"


class Own(Smallest):
    """A journal that keeps this content, and says that this runs; an exception is raised."""

    def __init__(self, content: Any, running: str | Exception = NAMED_IN_LATIN_1) -> None:
        self.content = content
        self.says = running

    def running(self) -> str:
        if isinstance(self.says, Exception):
            raise self.says
        return self.says

    def kept(self) -> Any:
        if isinstance(self.content, Exception):
            raise self.content
        return self.content


@pytest.fixture(autouse=True)
def user(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with user_directories(monkeypatch) as folder:
        yield folder


@pytest.fixture
def directory(user: Path) -> Path:
    return user / "kept"


@pytest.fixture
def settings(directory: Path) -> Settings:
    return Settings(
        snapshot=True,
        control=False,
        crash_reports=5,
        session_store=True,
        session_store_directory=str(directory),
        session_store_delay_s=0.001,
        restart_limit=0,
    )


def contents(directory: Path) -> list[bytes]:
    found = (content_of(path.read_bytes()) for path in files_in(directory))
    return sorted(content for _, content in filter(None, found))


@pytest.mark.parametrize("wrong", [OverflowError("too large for this journal"), {"x": 1}, 5])
async def test_the_others_are_stored(
    pool: HostPool, directory: Path, caplog: pytest.LogCaptureFixture, wrong: Any
) -> None:
    failing, well = Own(wrong), Own(b"well")
    first = await pool.open_session(APP, kernel=ECHO, session_id="first", journal=failing)
    second = await pool.open_session(APP, kernel=ECHO, session_id="second", journal=well)
    with caplog.at_level(logging.ERROR):
        for _ in range(2):
            first.send(Channel.CONTROL, b"1")
            await anext(first)
        second.send(Channel.CONTROL, b"2")
        await until_async(lambda: contents(directory) == [b"well"])
    told = [one for one in caplog.records if "its journal has failed" in one.getMessage()]
    assert len(told) == 1
    failing.content = b"works again"
    first.send(Channel.CONTROL, b"3")
    await until_async(lambda: contents(directory) == [b"well", b"works again"])
    failing.content = wrong


@pytest.mark.parametrize(
    ("says", "seen"), [(NAMED_IN_LATIN_1, ESCAPED), (LookupError("it runs what?"), "")]
)
async def test_operators_see_what_it_runs_and_how_it_died(
    pool: HostPool, says: str | Exception, seen: str
) -> None:
    journal = Own(b"", running=says)
    session = await pool.open_session(APP, kernel=ECHO, session_id="visitor", journal=journal)

    def shown() -> list[str]:
        return [
            one.running
            for server in published_servers()
            for app in server.snapshot.pool.apps
            for host in app.hosts
            for one in host.sessions
        ]

    await until_async(lambda: shown() == [seen])
    pool.hosts[0].kill()
    with pytest.raises(MPKernelError):
        await anext(session)
    await until_async(lambda: len(kept_reports()) == 1)
    (report,) = map(read_report, kept_reports())
    assert [one.running for one in report.sessions] == [seen]
    await until_async(lambda: shown() == [])
