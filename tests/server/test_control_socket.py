"""The socket that takes orders: it is its user's alone, and clients that do not behave as operators
do gain nothing at it."""

from __future__ import annotations

import os
import pickle
import socket
import stat
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from multiprocessing.connection import Client as connect
from pathlib import Path

import pytest
from faults.limits import starved
from server.conftest import pipes_and_threads
from server.operators import user_directories
from waiting import until

from mpkernel.errors import MPKernelError
from mpkernel.private_files import private_runtime_directory
from mpkernel.server.operations.control import ControlSocket
from mpkernel.server.operations.orders import Answer, Restart, Stop, give_order
from shm.names import next_name


@pytest.fixture
def user(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with user_directories(monkeypatch) as folder:
        yield folder


@pytest.fixture
def path(user: Path) -> Path:
    return private_runtime_directory() / f"{next_name()}.json"


@pytest.fixture
def control(path: Path) -> Iterator[ControlSocket]:
    before = pipes_and_threads()
    control = ControlSocket(path, lambda order: Answer(True, repr(order)), patience_s=0.5)
    yield control
    control.close()
    assert list(path.parent.iterdir()) == []
    assert not pipes_and_threads() - before


@pytest.fixture
def serves(control: ControlSocket, path: Path) -> Iterator[Path]:
    """The socket; whatever was done to it, an operator is heard in the end."""
    yield path.with_suffix(".sock")
    assert until(lambda: heard(path)) == Answer(True, repr(Restart("app")))
    until(lambda: clients() == 0)


@pytest.mark.parametrize("removed", [(".key",), (".sock",), (".sock", ".key")])
def test_files_that_were_removed_are_made_anew(
    serves: Path, control: ControlSocket, removed: tuple[str, ...]
) -> None:
    for _ in range(2):
        for suffix in removed:
            serves.with_suffix(suffix).unlink()
        control.restore()
        assert until(lambda: heard(serves.with_suffix(".json"))) == Answer(
            True, repr(Restart("app"))
        )
    assert stat.S_IMODE(serves.stat().st_mode) == 0o600


def test_a_socket_whose_files_were_removed_closes_at_once(path: Path) -> None:
    before = pipes_and_threads()
    control = ControlSocket(path, lambda order: Answer(True, repr(order)), patience_s=0.5)
    for suffix in (".key", ".sock"):
        path.with_suffix(suffix).unlink()
    control.close()
    control.restore()
    assert not pipes_and_threads() - before
    assert list(path.parent.iterdir()) == []


def test_socket_and_key_are_their_users_alone(serves: Path) -> None:
    for path in (serves, serves.with_suffix(".key")):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(serves.with_suffix(".key").read_bytes()) == 32


def test_without_the_key_nothing_is_heard(serves: Path) -> None:
    with pytest.raises((EOFError, OSError)), connect(str(serves)) as client:
        client.recv_bytes()  # its challenge
        client.send_bytes(b"open sesame")
        assert client.recv_bytes() == b"#FAILURE#"
        client.recv_bytes()


def test_a_wrong_key_is_refused(serves: Path, path: Path) -> None:
    other = path.with_name(f"{next_name()}.json")
    os.symlink(serves, other.with_suffix(".sock"))
    other.with_suffix(".key").write_bytes(bytes(32))
    with pytest.raises(MPKernelError, match="did not answer"):
        give_order(Stop(), other)
    other.with_suffix(".sock").unlink()
    other.with_suffix(".key").unlink()


def test_who_says_nothing_is_cut_off(serves: Path) -> None:
    with connect(str(serves)) as client:
        client.recv_bytes()
        with pytest.raises((EOFError, OSError)):
            client.recv_bytes()


def test_who_says_a_little_now_and_then_is_cut_off(serves: Path) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(serves))
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            while True:
                client.sendall(struct.pack("!i", 200)[:1])
                time.sleep(0.1)


@pytest.mark.parametrize(
    "start",
    [
        struct.pack("!i", 2**31 - 1),
        struct.pack("!i", -1) + struct.pack("!Q", 2**63),
        struct.pack("!i", -5),
        struct.pack("!i", 0),
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff" * 4096,
    ],
)
def test_sizes_and_bytes_of_nonsense_end_the_connection(serves: Path, start: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(serves))
        client.sendall(start)
        client.settimeout(10)
        try:
            while client.recv(4096):
                pass
        except ConnectionResetError:  # what it has not read is a reset
            return


def test_a_crowd_gets_no_more_than_a_few_threads(serves: Path) -> None:
    with ExitStack() as crowd:
        for _ in range(40):
            client = crowd.enter_context(socket.socket(socket.AF_UNIX))
            client.connect(str(serves))
            assert clients() <= 4


@pytest.mark.parametrize(
    "said",
    [
        pickle.dumps(os.getcwd),
        b"",
        b"\xc1",
        b"\x92" * 60_000,
        b"\x81\xa4type\xa5erase",
        b"\x81\xa4type\xa7restart",
        b"\x82\xa4type\xa7restart\xa3app\x01",
        b"\x82\xa4type\xa7restart\xa1x" + b"\x91" * 60_000,
    ],
)
def test_with_the_key_what_is_no_order_is_cut_off(serves: Path, said: bytes) -> None:
    with connect(str(serves), authkey=serves.with_suffix(".key").read_bytes()) as client:
        client.send_bytes(said)
        with pytest.raises((EOFError, OSError)):
            client.recv_bytes()


def test_with_the_key_what_is_too_large_is_not_read(serves: Path) -> None:
    key = serves.with_suffix(".key").read_bytes()
    with connect(str(serves), authkey=key) as client, pytest.raises((EOFError, OSError)):
        client.send_bytes(bytes(100_000_000))
        client.recv_bytes()


def test_who_is_there_at_the_end_does_not_delay_it(control: ControlSocket, path: Path) -> None:
    with connect(str(path.with_suffix(".sock"))) as client:
        client.recv_bytes()
        control.close()
        assert clients() == 0


def test_no_socket_can_be_had_where_its_name_is_too_long(user: Path) -> None:
    folder = user / ("x" * 100)
    folder.mkdir()
    with pytest.raises(OSError, match="too long"):
        ControlSocket(folder / "name.json", lambda order: Answer(True, ""))
    assert list(folder.iterdir()) == []


def heard(path: Path) -> Answer | None:
    """What an operator is answered; None while others have all threads of the socket."""
    try:
        return give_order(Restart("app"), path)
    except MPKernelError:
        return None


def clients() -> int:
    return sum(thread.name == "mpkernel-control-client" for thread in threading.enumerate())


def test_a_server_whose_socket_was_removed_leaves_all_the_same(user: Path) -> None:
    path = private_runtime_directory() / f"{next_name()}.json"
    control = ControlSocket(path, lambda order: Answer(True, ""))
    moved = path.with_name("moved")
    os.rename(path.with_suffix(".sock"), moved)
    control.close()
    assert all(one.name != "mpkernel-control" for one in threading.enumerate())
    moved.unlink()


def test_a_silent_client_is_cut_off_also_when_no_descriptor_is_left(
    control: ControlSocket, path: Path
) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(30)
        client.connect(str(path.with_suffix(".sock")))
        assert client.recv(1)  # the challenge: from now on, the time of the client is measured
        with starved(os.getpid()):
            while client.recv(1000):
                continue
