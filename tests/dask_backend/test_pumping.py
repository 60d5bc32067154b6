"""Apps on a cluster whose connections are encrypted: `pump` moves their bytes."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import dask
import psutil
import pytest
from dask_backend.certificates import certified
from dask_backend.clusters import a_cluster
from dask_backend.talking import printed
from distributed import Client
from distributed.security import Security
from server.obedient import Obeying, bytes_of, obeying_in
from tornado.iostream import IOStream, SSLIOStream
from tornado.tcpserver import TCPServer
from waiting import PATIENCE_S, until_async

from mpkernel import HostPool, PythonClient, Settings
from mpkernel.dask_backend import pumping
from mpkernel.dask_backend.clients import ClientOf
from mpkernel.dask_backend.launcher import DaskLauncher
from mpkernel.dask_backend.lease import ROLES
from mpkernel.dask_backend.pumping import pump
from mpkernel.errors import ClusterError


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return certified(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def configured(files: dict[str, str]) -> Iterator[None]:
    with dask.config.set({f"distributed.comm.tls.{key}": path for key, path in files.items()}):
        yield


@pytest.fixture(scope="module")
def client(configured: None) -> Iterator[Client]:
    with a_cluster(1, security=Security(require_encryption=True), protocol="tls://") as client:
        yield client


class Pumps:
    """The pumps of the server, which run or have ended."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.running = self.ended = 0
        patch.setattr(pumping, "pump", self._pump)

    async def _pump(self, stream: SSLIOStream, sock: socket.socket) -> None:
        assert isinstance(stream, SSLIOStream)
        self.running += 1
        await pump(stream, sock)
        self.running -= 1
        self.ended += 1


@pytest.fixture
def pumps(monkeypatch: pytest.MonkeyPatch) -> Pumps:
    return Pumps(monkeypatch)


@pytest.fixture
async def pool(client: Client, pumps: Pumps) -> AsyncIterator[HostPool]:
    async with HostPool(launcher=DaskLauncher(client)) as pool:
        yield pool


@pytest.fixture
def obeying(pool: HostPool) -> Obeying:
    return obeying_in(pool)


def tasks(client: Client) -> list[str]:
    """The tasks that the scheduler has on a worker."""
    return [task for of_one in client.processing().values() for task in of_one]


async def nothing_is_left(client: Client, pumps: Pumps, outpost: int) -> None:
    await until_async(lambda: not psutil.pid_exists(outpost) and not tasks(client))
    await until_async(lambda: pumps.running == 0)
    assert pumps.ended == len(ROLES)


async def test_an_app_is_heard_and_its_files_are_read(
    pool: HostPool, obeying: Obeying, client: Client, pumps: Pumps
) -> None:
    told = await obeying()
    assert pumps.running == len(ROLES)
    assert await told.do("print('heard'); result = 1 + 1") == 2
    assert await told.do("result = len(" + repr("a" * 20_000_000) + ")") == 20_000_000
    assert await told.do("result = 'b' * 20_000_000") == "b" * 20_000_000
    await told.do("kernel.files.store('a', bytes(range(256)) * 1000)")
    assert await asyncio.to_thread(bytes_of, pool, "a") == bytes(range(256)) * 1000
    outpost = await told.do("import os; result = os.getppid()")
    await told.session.close()
    await pool.close()
    await nothing_is_left(client, pumps, outpost)


async def test_an_outpost_that_is_killed_ends_its_task_and_what_moves_its_bytes(
    obeying: Obeying, client: Client, pumps: Pumps
) -> None:
    told = await obeying()
    outpost = await told.do("import os; result = os.getppid()")
    os.kill(outpost, signal.SIGKILL)
    with pytest.raises(Exception, match="its worker"):
        await anext(told.session)
    await nothing_is_left(client, pumps, outpost)


async def test_a_client_of_an_address_is_encrypted_as_dasks_configuration_says(
    client: Client,
) -> None:
    address = client.scheduler.address
    assert address.startswith("tls://")
    source = ClientOf(address)
    assert await connected(source) == "running"
    source.close()


@pytest.mark.parametrize("given", [(), ("ca-file",), ("ca-file", "client.cert", "client.key")])
async def test_files_that_are_not_named_or_not_there_are_an_error(given: tuple[str, ...]) -> None:
    names: dict[str, str | None] = dict.fromkeys(
        f"distributed.comm.tls.{key}" for key in ("ca-file", "client.cert", "client.key")
    )
    names |= {f"distributed.comm.tls.{key}": f"/nowhere/{key}" for key in given}
    source = ClientOf("tls://127.0.0.1:8786")
    with (
        dask.config.set(names),
        pytest.raises(ClusterError, match="Dask's configuration") as raised,
    ):
        await connected(source)
    assert "127.0.0.1:8786" in raised.value.what
    assert ("/nowhere/client.key" in raised.value.what) is (len(given) == 3)
    source.close()


async def connected(source: ClientOf) -> str:
    """The status of the client, once it is there."""
    found: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    loop = asyncio.get_running_loop()

    async def connect() -> None:
        try:
            status = (await source.client()).status
        except ClusterError as error:
            loop.call_soon_threadsafe(found.set_exception, error)
        else:
            loop.call_soon_threadsafe(found.set_result, status)

    source.call(connect())
    async with asyncio.timeout(PATIENCE_S):
        return await found


class Ends:
    """The two ends of an encrypted connection, each with a pump.

    Attributes:
        near, far: the sockets, beyond the pumps.
        pumps: both.
    """

    def __init__(self) -> None:
        self.near, self._near = socket.socketpair()
        self.far, self._far = socket.socketpair()
        for one in (self.near, self.far):
            one.setblocking(False)
        self.pumps: list[asyncio.Task[None]] = []

    async def pump(self, stream: SSLIOStream, sock: socket.socket) -> None:
        try:
            await pump(stream, sock)
        finally:
            stream.close()


@asynccontextmanager
async def ends(files: dict[str, str]) -> AsyncIterator[Ends]:
    certificate, key = files["client.cert"], files["client.key"]
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    both = Ends()
    accepted: asyncio.Future[SSLIOStream] = asyncio.get_running_loop().create_future()

    class Accepting(TCPServer):
        def handle_stream(self, stream: SSLIOStream, address: object) -> None:
            accepted.set_result(stream)

    server = Accepting(ssl_options=context)
    server.listen(0, "127.0.0.1")
    [listening] = server._sockets.values()
    trusting = ssl.create_default_context(cafile=certificate)
    trusting.check_hostname = False
    near = SSLIOStream(socket.socket(), ssl_options=trusting)
    await near.connect(("127.0.0.1", listening.getsockname()[1]))
    far = await accepted
    both.pumps = [
        asyncio.create_task(both.pump(near, both._near)),
        asyncio.create_task(both.pump(far, both._far)),
    ]
    try:
        yield both
    finally:
        server.stop()
        for one in (both.near, both.far):
            one.close()
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*both.pumps)


async def all_of(sock: socket.socket) -> bytes:
    """What comes until the end."""
    loop, found = asyncio.get_running_loop(), bytearray()
    async with asyncio.timeout(PATIENCE_S):
        while data := await loop.sock_recv(sock, 2**16):
            found += data
    return bytes(found)


async def test_the_last_bytes_of_an_end_come_though_the_other_still_sends(
    files: dict[str, str],
) -> None:
    loop = asyncio.get_running_loop()
    async with ends(files) as both:
        sending = asyncio.create_task(loop.sock_sendall(both.near, bytes(50_000_000)))
        await loop.sock_sendall(both.far, b"last words" * 10_000)
        both.far.shutdown(socket.SHUT_WR)
        assert await all_of(both.near) == b"last words" * 10_000
        assert not both.pumps[1].done()
        sending.cancel()
        both.near.close()
        await all_of(both.far)


async def test_what_an_end_sent_before_it_was_closed_comes(files: dict[str, str]) -> None:
    loop = asyncio.get_running_loop()
    async with ends(files) as both:
        await loop.sock_sendall(both.near, bytes(100_000))
        await loop.sock_sendall(both.far, b"last words" * 10_000)
        both.far.close()
        assert await all_of(both.near) == b"last words" * 10_000


async def test_an_end_that_never_closes_is_not_waited_for_without_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pumping, "_FAREWELL_S", 0.1)
    ours, stopped = socket.socketpair()
    near, far = socket.socketpair()
    stream = IOStream(ours)
    pumping_both = asyncio.create_task(pump(stream, far))
    near.shutdown(socket.SHUT_WR)
    async with asyncio.timeout(PATIENCE_S):
        await pumping_both
    for one in (stream, stopped, near):
        one.close()


async def test_the_folder_of_an_app_is_sent_over_an_encrypted_connection(
    client: Client, tmp_path: Path
) -> None:
    data = random.Random(1).randbytes(3 * 2**20)
    (tmp_path / "data.bin").write_bytes(data)
    app = tmp_path / "app.py"
    app.touch()
    async with (
        HostPool(Settings(cluster_upload=True), launcher=DaskLauncher(client)) as pool,
        await PythonClient.open(pool, app) as kernel,
    ):
        code = (
            "import hashlib; from pathlib import Path; data = Path(__file__).with_name('data.bin');"
            f"print(str(data) != {str(tmp_path / 'data.bin')!r},"
            " hashlib.sha256(data.read_bytes()).hexdigest())"
        )
        assert await printed(kernel, code) == f"True {hashlib.sha256(data).hexdigest()}\n"
