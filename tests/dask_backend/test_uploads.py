"""The server's end of an upload: archives that are kept and closed, and outposts that ask for more
than they may."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from waiting import PATIENCE_S, until_async

from mpkernel.dask_backend.far_process import FarProcess
from mpkernel.dask_backend.messages import Launch, SendFolder, encode_news
from mpkernel.dask_backend.parts import Lane, PartDecoder, PartKind, encode_head
from mpkernel.dask_backend.uploads import Upload, Uploads
from mpkernel.errors import ClusterError

BOUND = 2**20


@pytest.fixture
def app(tmp_path: Path) -> Path:
    path = tmp_path / "notebooks" / "app.py"
    path.parent.mkdir()
    path.write_text("x = 1\n")
    return path


def open_archives() -> int:
    """How many descriptors of temporary files without a name this process has."""
    found = 0
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            path = os.readlink(f"/proc/self/fd/{fd}")
            found += path.startswith(tempfile.gettempdir()) and path.endswith("(deleted)")
    return found


async def test_few_archives_are_kept_open_and_none_after_the_end(tmp_path: Path) -> None:
    before = open_archives()
    uploads = Uploads()
    for number in range(40):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "app.py").write_text(str(number))
        await uploads.of(str(folder / "app.py"), BOUND).look()
    assert open_archives() <= before + 16
    uploads.close()
    await uploads.of(str(folder / "app.py"), BOUND).look()
    assert open_archives() == before


async def test_one_folder_is_packed_once_for_processes_that_start_together(app: Path) -> None:
    uploads = Uploads()
    before = open_archives()
    await asyncio.gather(*(uploads.of(str(app), BOUND).look() for _ in range(20)))
    assert open_archives() == before + 1
    uploads.close()


async def test_a_missing_file_and_a_folder_are_named(app: Path) -> None:
    uploads = Uploads()
    missing = app.with_name("missing.py")
    with pytest.raises(ClusterError, match=f"there is no file {missing} to send"):
        await uploads.of(str(missing), BOUND).look()
    missing.mkdir()
    with pytest.raises(ClusterError, match=f"there is no file {missing} to send"):
        await uploads.of(str(missing), BOUND).look()
    uploads.close()


class Outpost:
    """A process whose outpost the test is.

    Attributes:
        process: the server's end.
        upload: the folder of its app.
        parts: what has come, by lane.
    """

    def __init__(self, upload: Upload, app: Path) -> None:
        self.upload = upload
        self.process = FarProcess(
            Launch(name="app", app=str(app), env=None, silence_s=60, sample_s=None),
            loop=asyncio.get_running_loop(),
            cancel=lambda: None,
            upload=upload,
        )
        ours, self._sock = socket.socketpair()
        pairs = [socket.socketpair() for _ in range(2)]
        self._hosts = [one[1] for one in pairs]
        self._decoder = PartDecoder()
        self.parts: dict[Lane, list[bytes]] = {lane: [] for lane in Lane}
        self.process.claimed(ours, pairs[0][0], pairs[1][0], "tcp://worker")

    def ask(self) -> None:
        data = encode_news(SendFolder())
        self._sock.send(encode_head(Lane.NEWS, PartKind.DATA, len(data)) + data)

    async def come(self, lane: Lane) -> None:
        """Read until something has come on this lane."""
        self._sock.setblocking(False)
        async with asyncio.timeout(PATIENCE_S):
            while not self.parts[lane]:
                loop = asyncio.get_running_loop()
                count = await loop.sock_recv_into(self._sock, self._decoder.buffer)
                assert count
                for part in self._decoder.received(count):
                    self.parts[part.lane].append(bytes(part.data))

    def close(self) -> None:
        self.process.close()
        self.process.close_console()
        for sock in (self._sock, *self._hosts):
            sock.close()


@pytest.fixture
async def outpost(app: Path) -> AsyncIterator[Outpost]:
    uploads = Uploads()
    outpost = Outpost(uploads.of(str(app), BOUND), app)
    yield outpost
    outpost.close()
    uploads.close()


async def test_an_outpost_is_sent_the_archive_only_once(outpost: Outpost) -> None:
    await outpost.come(Lane.NEWS)
    order = msgspec.msgpack.decode(outpost.parts[Lane.NEWS][0])
    assert order["folder"]["name"] == "notebooks"
    assert order["folder"]["app"] == "app.py"
    outpost.ask()
    await outpost.come(Lane.FOLDER)
    assert sum(map(len, outpost.parts[Lane.FOLDER])) == order["folder"]["size"]
    outpost.ask()
    await until_async(lambda: outpost.process.status() is not None)
    assert "a folder is asked for that is not offered" in str(outpost.process.status())


async def test_a_process_is_outdated_when_its_app_has_changed(outpost: Outpost, app: Path) -> None:
    assert not outpost.process.is_outdated
    await outpost.come(Lane.NEWS)
    assert not outpost.process.is_outdated
    app.with_name("other.py").touch()
    assert not outpost.process.is_outdated
    app.write_text("x = 22\n")
    assert outpost.process.is_outdated
    app.unlink()
    assert not outpost.process.is_outdated
