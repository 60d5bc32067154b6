"""What an app may need: modules, programs, folders and multiprocessing; and much of some of it."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
from multiprocessing import shared_memory

from .targets import Targets


def large_file(_: Targets) -> None:
    with tempfile.TemporaryFile() as file:
        os.truncate(file.fileno(), 5 * 1024**3)


def large_memory(_: Targets) -> None:
    import mmap

    size = 2 * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | 0x4000).close()  # MAP_NORESERVE


def import_and_run(_: Targets) -> None:
    import concurrent.futures  # noqa: F401 (that it can be read)

    subprocess.run([sys.executable, "-c", "import json"], check=True)


def use_folders(_: Targets) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"x")
    os.makedirs(os.path.expanduser("~/.cache"), exist_ok=True)
    os.rmdir(tempfile.mkdtemp(dir=os.path.expanduser("~/.cache")))


def use_shared_memory(_: Targets) -> None:
    one = shared_memory.SharedMemory(create=True, size=10)
    one.close()
    one.unlink()


def locks_and_pools(method: str) -> None:
    context = multiprocessing.get_context(method)
    with context.Pool(2) as pool:
        assert pool.map(abs, [-1, 2]) == [1, 2]
    queue, lock = context.Queue(), context.Lock()
    with lock:
        queue.put(5)
    assert queue.get(timeout=10) == 5


def manager(_: Targets) -> None:
    with multiprocessing.Manager() as manager:
        numbers = manager.list([1])
        numbers.append(2)
        assert list(numbers) == [1, 2]
