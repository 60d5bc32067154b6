"""The number of a closed descriptor may be another file's soon: mpkernel does not use it any
more."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import tempfile
import threading
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from waiting import PATIENCE_S

from mpkernel import HostPool, PythonClient, Settings
from mpkernel.errors import MPKernelError, PoolClosed, ProtocolError
from mpkernel.server.links.console_relay import ConsoleRelay
from mpkernel.server.links.link import LinkEvents
from mpkernel.server.links.pipe_link import PipeLink
from mpkernel.wire.frames import Channel, Frame


def fail(error: ProtocolError) -> None:
    raise AssertionError(error)


def ignore(frames: list[Frame]) -> None:
    return


class Linked:
    """A link, and the far ends of its Pipes."""

    def __init__(self) -> None:
        self.control, self.far_control = multiprocessing.Pipe()
        self.stream, self.far_stream = multiprocessing.Pipe()
        self.link = PipeLink(
            "app.py",
            self.control,
            self.stream,
            asyncio.get_running_loop(),
            LinkEvents(ignore, fail),
            backlog_bytes=1 << 30,
            max_frame_bytes=1 << 20,
        )

    def close(self, *ends: Connection) -> None:
        for end in ends or (self.control, self.stream, self.far_control, self.far_stream):
            end.close()


async def test_what_other_threads_send_while_a_link_is_closed_reaches_nobody_else(
    tmp_path: Path,
) -> None:
    for attempt in range(20):
        linked = Linked()
        number = linked.control.fileno()
        begun, over = threading.Event(), threading.Event()

        def send(linked: Linked = linked, begun: threading.Event = begun) -> None:
            while not over.is_set():  # noqa: B023 (joined before the next one)
                linked.link.send(Channel.CONTROL, 1, b"for the host alone")
                begun.set()

        threads = [threading.Thread(target=send) for _ in range(2)]
        for thread in threads:
            thread.start()
        await asyncio.to_thread(begun.wait)
        with (tmp_path / f"stranger{attempt}").open("w+b") as stranger:
            linked.link.close()
            linked.close()
            os.dup2(stranger.fileno(), number)
            await asyncio.sleep(0)  # what was to be done on the loop is done
            over.set()
            for thread in threads:
                await asyncio.to_thread(thread.join)
            assert os.lseek(number, 0, os.SEEK_END) == 0
            os.close(number)


async def test_a_link_whose_sending_is_closed_lets_go_of_what_it_could_not_write() -> None:
    linked = Linked()
    while not linked.link.backlog_bytes:
        linked.link.send(Channel.CONTROL, 1, b"x" * 100_000)
    await asyncio.to_thread(linked.link.close_sending)
    assert linked.link.backlog_bytes == 0
    linked.link.send(Channel.CONTROL, 1, b"too late")
    while linked.far_control.poll():
        os.read(linked.far_control.fileno(), 1 << 20)  # now the Pipe could be written to
    await asyncio.sleep(0.01)
    assert not linked.far_control.poll()
    assert not asyncio.get_running_loop().remove_writer(linked.control.fileno())
    linked.link.close()
    linked.close()


async def test_a_link_that_cannot_watch_one_pipe_watches_neither() -> None:
    control, far_control = multiprocessing.Pipe()
    with tempfile.TemporaryFile() as plain:  # no loop can watch a plain file
        stream = Connection(os.dup(plain.fileno()))
        loop = asyncio.get_running_loop()
        with pytest.raises((OSError, RuntimeError)):
            PipeLink(
                "app.py",
                control,
                stream,
                loop,
                LinkEvents(ignore, fail),
                backlog_bytes=0,
                max_frame_bytes=1 << 20,
            )
        assert not loop.remove_reader(control.fileno())
        for end in (control, far_control, stream):
            end.close()


def test_a_closed_relay_takes_no_more_and_wakes_nobody() -> None:
    relay = ConsoleRelay(forward=False)
    pipes = [os.pipe() for _ in range(3)]
    ended = threading.Event()

    def add() -> None:
        relay.add(
            "app.py",
            app="/app.py",
            pid=0,
            stdout=pipes[0][0],
            stderr=pipes[1][0],
            faults=pipes[2][0],
            on_text=lambda *_: None,
            on_end=ended.set,
        )

    add()
    relay.close()
    relay.join(PATIENCE_S)
    assert ended.is_set()
    files = [tempfile.TemporaryFile() for _ in range(20)]
    with pytest.raises(RuntimeError, match="closed"):
        add()
    relay.close()
    assert not any(os.fstat(file.fileno()).st_size for file in files)
    for file in files:
        file.close()
    for ends in pipes:
        for end in ends:
            os.close(end)


async def test_a_pool_that_is_killed_while_its_loop_runs_leaves_it_its_descriptors(
    tmp_path: Path,
) -> None:
    """This happens at the exit of a program whose server runs on another thread."""
    app = tmp_path / "app.py"
    app.write_text("")
    pool = HostPool(Settings(idle_retire_s=None))
    client = await PythonClient.open(pool, app)
    (host,) = pool.hosts

    def send() -> None:
        while not client.session.over:
            try:
                client.run_app()
            except MPKernelError:
                return

    sender = threading.Thread(target=send)
    sender.start()
    await asyncio.to_thread(pool.kill)
    files = [tempfile.TemporaryFile() for _ in range(40)]
    await host.wait_over()
    assert not any(one.is_alive for one in pool.hosts)
    with pytest.raises(PoolClosed):
        async for _ in client.session:
            continue
    await pool.close()
    await asyncio.to_thread(sender.join)
    assert not any(os.fstat(file.fileno()).st_size for file in files)
    for file in files:
        file.close()
