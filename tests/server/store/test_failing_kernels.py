"""A stored session whose kernel fails when it comes back: who is to blame decides what is kept."""

from __future__ import annotations

from pathlib import Path

import pytest
from server.store.stored import files_in
from server.test_journal import Smallest
from waiting import until_async

from mpkernel import Channel, HostPool, KernelSpec, Rebuilt, Session, Settings
from mpkernel.errors import KernelFailed
from mpkernel.wire.frames import Message

KERNEL = KernelSpec(entry="own:kernel")
CODE = """
def kernel(kernel):
    for number, message in enumerate(kernel, 1):
        kernel.progressed(number, number - 1)
        kernel.send(message.payload)
        kernel.progressed(number, number)
"""


class Commands(Smallest):
    """A journal that sends all commands again."""

    def __init__(self) -> None:
        self.commands: list[bytes] = []

    def sent(self, channel: Channel, command: object) -> None:
        assert isinstance(command, bytes)
        self.commands.append(command)

    def rebuild(self, *, without_running: bool) -> Rebuilt:
        messages = [Message(Channel.CONTROL, command) for command in self.commands]
        return Rebuilt(KERNEL, messages, len(messages))

    def kept(self) -> bytes:
        return b"\n".join(self.commands)

    def load(self, kept: bytes) -> None:
        self.commands = kept.split(b"\n")


@pytest.fixture
def app(tmp_path: Path) -> Path:
    path = tmp_path / "own.py"
    path.write_text(CODE)
    return path


@pytest.fixture
async def directory(tmp_path: Path, app: Path) -> Path:
    """The directory of the store, with a session that has sent a command."""
    directory = tmp_path / "kept"
    async with pool_of(directory) as pool:
        session = await opened(pool, app)
        session.send(Channel.CONTROL, b"one")
        assert (await anext(session)).payload == b"one"
        await until_async(lambda: files_in(directory))
    return directory


def pool_of(directory: Path) -> HostPool:
    return HostPool(Settings(session_store=True, session_store_directory=str(directory)))


async def opened(pool: HostPool, app: Path) -> Session:
    return await pool.open_session(app, kernel=KERNEL, session_id="visitor", journal=Commands())


async def fails(directory: Path, app: Path, *, why: str) -> None:
    async with pool_of(directory) as pool:
        session = await opened(pool, app)
        with pytest.raises(KernelFailed, match=why):
            await anext(session)


async def test_it_comes_back_once_its_app_can_be_imported_again(app: Path, directory: Path) -> None:
    app.write_text("raise ImportError('it is being edited')\n")
    for _ in range(2):
        await fails(directory, app, why="it is being edited")
        assert len(files_in(directory)) == 1
    app.write_text(CODE)
    async with pool_of(directory) as pool:
        assert (await anext(await opened(pool, app))).payload == b"one"


async def test_it_begins_anew_if_one_of_its_commands_was_the_cause(
    app: Path, directory: Path
) -> None:
    app.write_text(CODE.replace("kernel.send(message.payload)", "raise ValueError('no')"))
    await fails(directory, app, why="ValueError: no")
    assert files_in(directory) == []
    async with pool_of(directory) as pool:
        session = await opened(pool, app)
        with pytest.raises(KernelFailed, match="ValueError: no"):
            session.send(Channel.CONTROL, b"two")
            await anext(session)
