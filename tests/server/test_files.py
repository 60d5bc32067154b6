"""Virtual files of real hosts, as the server reads them."""

from __future__ import annotations

import gc
import os
import random
import signal
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest
from halves import host_of
from server.obedient import FILES, OBEY, Obeying, Told, blocks, bytes_of, obeying_in
from waiting import until_async

from mpkernel import HostPool, Settings
from mpkernel.errors import HostDied
from shm import Block, BlockNotFound, Snapshot, sweep


@pytest.fixture
def obeying(pool: HostPool) -> Obeying:
    return obeying_in(pool)


async def test_a_file_is_known_before_the_output_that_names_it(
    pool: HostPool, obeying: Obeying
) -> None:
    told = await obeying()
    content = bytes(range(256)) * 4000
    key = await told.do(
        "file = kernel.files.create(bytes(range(256)) * 4000, media_type='image/png',"
        " extension='png'); result = file.key"
    )
    info = pool.files.lookup(key)
    assert (info.size, info.media_type) == (len(content), "image/png")
    assert bytes_of(pool, key) == content
    assert bytes_of(pool, key, 1000, 5000) == content[1000:6000]
    assert bytes_of(pool, key, len(content) - 3, 5000) == content[-3:]
    assert await told.do("result = file.url") == f"@file/{len(content)}-{key}"


async def test_a_file_ends_with_the_object_that_shows_it(pool: HostPool, obeying: Obeying) -> None:
    told = await obeying()
    key = await told.do("file = kernel.files.create(b'x' * 9999); result = file.key")
    assert key in pool.files
    await told.do("del file")
    assert key not in pool.files
    with pytest.raises(KeyError):
        pool.files.lookup(key)


async def test_a_block_is_used_again_but_not_while_it_is_read(
    pool: HostPool, obeying: Obeying
) -> None:
    told = await obeying()
    await told.do("kernel.files.store('a', b'a' * 100_000)")
    with pool.files.lease("a") as entry:
        chunks = entry.chunks(chunk_bytes=1000)
        assert next(chunks) == b"a" * 1000
        await told.do("kernel.files.remove('a'); kernel.files.store('b', b'b' * 100_000)")
        assert "a" not in pool.files
        assert b"".join(chunks) == b"a" * 99_000
        with pool.files.lease("b") as other:
            assert other.source.location != entry.source.location
        read_location = entry.source.location
    await told.do("kernel.files.remove('b')")
    await told.do("pass")  # a message more, and the host has heard that both are free
    locations = set()
    for key in "cd":
        await told.do(f"kernel.files.store('{key}', b'{key}' * 100_000)")
        with pool.files.lease(key) as entry:
            locations.add(entry.source.location)
        assert bytes_of(pool, key) == key.encode() * 100_000
    assert read_location in locations


@pytest.mark.parametrize("storage", ["shared_memory", "temp_file"])
async def test_what_is_read_when_its_host_dies_is_read_to_its_end(storage: Any) -> None:
    descriptors = len(os.listdir("/proc/self/fd"))
    async with HostPool(Settings(file_storage=storage)) as pool:
        told = Told(await pool.open_session(FILES, kernel=OBEY))
        for key in "ab":
            await told.do(f"kernel.files.store('{key}', b'{key}' * 1_000_000)")
        host = host_of(told.session)
        with (
            pool.files.lease("a") as unread,
            pool.files.lease("b") as begun,
            closing(unread.open()) as reader,
        ):
            chunks = begun.chunks()
            first = next(chunks)
            os.kill(host.pid, signal.SIGKILL)
            await host.wait_over()
            assert not os.path.lexists(f"/dev/shm/{unread.source.location}")
            assert not os.path.lexists(unread.source.location)
            assert b"".join(reader.chunks(500_000, 2_000_000)) == b"a" * 500_000
            assert first + b"".join(chunks) == b"b" * 1_000_000
            with pytest.raises(BlockNotFound):
                unread.open()
        assert "a" not in pool.files
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= descriptors


async def test_no_reader_sees_another_files_bytes(pool: HostPool, obeying: Obeying) -> None:
    """Kernel threads store and remove without a pause, while threads of the server read."""
    told = await obeying()
    wrong: list[str] = []
    stop = threading.Event()

    def read() -> None:
        choose = random.Random(1)
        while not stop.is_set():
            files = [info for info in pool.files.snapshot().files if not info.released]
            if not files:
                continue
            key = choose.choice(files).key
            try:
                content = bytes_of(pool, key)
            except KeyError:  # it ended since
                continue
            if set(content) - {int(key.rpartition("-")[2])}:
                wrong.append(key)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        await told.do(
            "import threading\n"
            "def store(thread):\n"
            "    for turn in range(300):\n"
            "        key = f'{thread}-{turn}-{(thread * 50 + turn) % 256}'\n"
            "        size = 50_000 + turn * 37 % 20_000\n"
            "        kernel.files.store(key, bytes([(thread * 50 + turn) % 256]) * size)\n"
            "        if turn > 1:\n"
            "            kernel.files.remove(previous)\n"
            "        previous = key\n"
            "threads = [threading.Thread(target=store, args=(n,)) for n in range(3)]\n"
            "[thread.start() for thread in threads]\n"
            "[thread.join() for thread in threads]\n"
        )
    finally:
        stop.set()
        for reader in readers:
            reader.join()
    assert not wrong


async def test_the_files_of_a_session_end_with_it(pool: HostPool, obeying: Obeying) -> None:
    first, second = await obeying(), await obeying()
    await first.do("kernel.files.store('first', b'1')")
    await second.do("kernel.files.store('second', b'2')")
    await first.session.close()
    await until_async(lambda: "first" not in pool.files)
    assert bytes_of(pool, "second") == b"2"


async def test_a_session_removes_and_takes_no_key_of_another(
    pool: HostPool, obeying: Obeying, tmp_path: Path
) -> None:
    other_app = tmp_path / "files.py"
    other_app.write_text(FILES.read_text())
    first, second, other = await obeying(), await obeying(), await obeying(other_app)
    await first.do("kernel.files.store('mine', b'first')")
    assert "KeyTaken" in await second.fail("kernel.files.store('mine', b'second')")
    assert "NotOwner" in await second.fail("kernel.files.remove('mine')")
    await other.do("kernel.files.store('mine', b'other')")
    await other.do("kernel.files.remove('mine')")
    assert bytes_of(pool, "mine") == b"first"


@pytest.mark.parametrize(
    "location",
    ["psm_12345678", "../etc/passwd", "{other}", "mpk-0-1-2-3", "", "x" * 10_000, "{own}/../x"],
)
async def test_a_place_that_is_not_the_hosts_is_refused(
    pool: HostPool, obeying: Obeying, location: str
) -> None:
    told = await obeying()
    block = Block.create(4096)
    try:
        location = location.format(other=block.name, own=f"{told.prefix}0")
        for kind, place in (("block", location), ("temp_file", f"/tmp/{location}/0")):
            await told.do(
                "from mpkernel.wire.messages import FileStored\n"
                f"hosted.announce(FileStored('forged', {kind!r}, {place!r}, 10, 'text/plain'))"
            )
            assert "forged" not in pool.files
    finally:
        block.unlink()


async def test_a_file_that_says_it_is_longer_than_its_block_gives_an_error(
    pool: HostPool, obeying: Obeying
) -> None:
    told = await obeying()
    await told.do(
        "from mpkernel.wire.messages import FileStored\n"
        "from shm import Block\n"
        "block = Block.create(4096)\n"
        "hosted.announce(FileStored('long', 'block', block.name, 1 << 40, 'text/plain'))"
    )
    with pytest.raises(KeyError, match="shorter"):
        bytes_of(pool, "long", 0, 10)
    await told.do("block.unlink()")


async def test_a_killed_host_leaves_nothing_that_it_stored_or_was_about_to(
    pool: HostPool, obeying: Obeying
) -> None:
    told = await obeying()
    await told.do("kernel.files.store('a', b'a' * 100_000)")
    await told.do("kernel.files.store('b', b'b' * 100_000); kernel.files.remove('b')")
    await told.do("from shm import Block; unannounced = Block.create(50_000)")
    prefix = told.prefix
    assert len(blocks(prefix)) == 3
    host = psutil.Process(told.session.pid)
    for process in [*host.children(recursive=True), host]:  # its tracker first
        process.send_signal(signal.SIGKILL)
    with pytest.raises(HostDied):
        await told.do("pass")
    await until_async(lambda: not blocks(prefix))
    assert "a" not in pool.files


async def test_the_last_lines_of_a_killed_host_speak_of_no_leak(obeying: Obeying) -> None:
    told = await obeying()
    await told.do("kernel.files.store('a', b'a' * 100_000); print('last words', flush=True)")
    host = host_of(told.session)
    os.kill(host.pid, signal.SIGKILL)
    with pytest.raises(HostDied):
        await told.do("pass")
    await until_async(lambda: not host.is_alive)
    assert host.last_lines() == ["last words"]


async def test_a_closed_pool_leaves_no_block(tmp_path: Path) -> None:
    async with HostPool() as pool:
        told = Told(await pool.open_session(FILES, kernel=OBEY))
        await told.do("kernel.files.store('a', b'a' * 100_000)")
        prefix = told.prefix
        assert blocks(prefix)
    assert not blocks(prefix)
    assert pool.files.snapshot() == Snapshot([], 0)


async def test_a_fork_of_a_host_neither_announces_nor_removes(
    pool: HostPool, obeying: Obeying
) -> None:
    told = await obeying()
    content = await told.do(
        "import os\n"
        "file = kernel.files.create(b'parent' * 10_000)\n"
        "reads, writes = os.pipe()\n"
        "if os.fork() == 0:\n"
        "    mine = kernel.files.create(b'child' * 10_000)\n"
        "    os.write(writes, mine.read()[:5])\n"
        "    kernel.files.remove(file.key)\n"
        "    del file, mine\n"
        "    os._exit(0)\n"
        "os.wait()\n"
        "result = os.read(reads, 100), file.key\n"
    )
    assert content[0] == b"child"
    assert bytes_of(pool, content[1]) == b"parent" * 10_000
    assert len(pool.files) == 1


async def test_what_a_whole_dead_tree_left_is_swept_by_the_next(obeying: Obeying) -> None:
    told = await obeying()
    host = psutil.Process(told.session.pid)
    dead, place = await told.do(
        "import os, signal, subprocess, sys\n"
        "code = '''\n"
        "import os, sys, shm\n"
        "from shm.tempdir import TempDirectory\n"
        "from multiprocessing import resource_tracker\n"
        "shm.Block.create(4096)\n"
        "directory = TempDirectory()\n"
        "directory.write(memoryview(b'x'))\n"
        "os.kill(resource_tracker._resource_tracker._pid, 9)\n"
        "print(os.getpid(), directory.path, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
        "'''\n"
        "child = subprocess.run([sys.executable, '-c', code], capture_output=True)\n"
        "result = child.stdout.decode().split()\n"
    )
    assert host.is_running()
    left = os.path.basename(place).rpartition("-")[0] + "-"
    assert blocks(left)
    sweep()
    assert not blocks(left)
    assert not os.path.exists(place)
    assert dead
