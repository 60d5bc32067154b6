"""`dial`: a real worker answers; what a hostile one says is neither unpickled nor allocated."""

from __future__ import annotations

import os
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from distributed import Client, LocalCluster
from distributed.comm.tcp import TCP
from distributed.protocol.serialize import ToPickle, to_serialize
from distributed.security import Security
from tornado.iostream import IOStream
from tornado.tcpserver import TCPServer
from waiting import PATIENCE_S

from mpkernel.dask_backend.dialing import dial
from mpkernel.errors import ProtocolError


class Unpickled:
    """Makes a folder where it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (self._folder,)


class Says(TCPServer):
    """Answers each connection with these bytes, or with this message."""

    def __init__(self, said: object) -> None:
        super().__init__()
        self._said = said

    async def handle_stream(self, stream: IOStream, address: object) -> None:
        if isinstance(self._said, bytes):
            await stream.write(self._said)
        else:
            await TCP(stream, "here", "there", deserialize=False).write(self._said)


@asynccontextmanager
async def saying(said: object) -> AsyncIterator[str]:
    """The address of what says this."""
    server = Says(said)
    server.listen(0, "127.0.0.1")
    (socket,) = server._sockets.values()
    try:
        yield f"tcp://127.0.0.1:{socket.getsockname()[1]}"
    finally:
        server.stop()


async def test_a_worker_answers_what_it_is_asked() -> None:
    async with (
        LocalCluster(
            n_workers=1, threads_per_worker=1, asynchronous=True, dashboard_address=None
        ) as cluster,
        Client(cluster, asynchronous=True) as client,
    ):
        (address,) = cluster.scheduler.workers
        comm, answer = await dial(address, "identity", client.security, timeout_s=PATIENCE_S)
        comm.abort()
        assert isinstance(answer, dict)
        assert answer["type"] == "Worker"


@pytest.mark.parametrize("wrapped", [ToPickle, to_serialize])
async def test_nothing_that_a_worker_says_is_unpickled(
    wrapped: Callable[[object], object], tmp_path: Path
) -> None:
    made = tmp_path / "unpickled"
    hello = {"pickle-protocol": 5, "python": wrapped(Unpickled(made))}
    async with saying({"evil": wrapped(Unpickled(made))}) as address:
        with pytest.raises(ProtocolError, match="no worker of Dask"):
            await dial(address, "identity", Security(), timeout_s=PATIENCE_S)
    async with saying(hello) as address:
        with pytest.raises((OSError, TimeoutError)):
            await dial(address, "identity", Security(), timeout_s=0.5)
    assert not made.exists()


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(struct.pack("<Q", 2**62), id="a header that asks for too much"),
        pytest.param(struct.pack("<Q", 0), id="nothing"),
        pytest.param(struct.pack("<3Q", 16, 1, 2**63), id="a frame that is longer than all"),
        pytest.param(struct.pack("<3Q", 16, 2**63, 0), id="too many frames"),
        pytest.param(struct.pack("<3Q", 17, 1, 1) + b"\xc1", id="no msgpack"),
    ],
)
async def test_bytes_that_do_not_follow_the_protocol_are_an_error(said: bytes) -> None:
    async with saying(said) as address:
        with pytest.raises(ProtocolError, match=address):
            await dial(address, "identity", Security(), timeout_s=PATIENCE_S)
