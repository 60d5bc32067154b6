"""What tests and benchmarks report as left behind in shared memory is mpkernel's own, and nobody
else's."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import conftest
import pytest

from benchmarks.marimo_server import process

_STRANGER = """
import os, subprocess, sys
child = subprocess.Popen(
    [sys.executable, "-c", sys.argv[1]], stdin=0, stdout=1, start_new_session=True
)
os._exit(0)
"""
_MAKER = """
import sys
from multiprocessing import shared_memory
block = shared_memory.SharedMemory(create=True, size=4096)
open("/dev/shm/sem.loky-of-a-test", "w").close()
print(block.name, flush=True)
sys.stdin.read()
block.close()
block.unlink()
"""


@pytest.fixture
def stranger() -> Iterator[str]:
    """The name of a block of a process that did not come from this one, as far as one can see."""
    program = subprocess.Popen(
        [sys.executable, "-c", _STRANGER, _MAKER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert program.stdin is not None
    assert program.stdout is not None
    yield program.stdout.readline().strip()
    program.stdin.close()
    program.stdout.read()  # until it has ended
    program.wait()
    Path("/dev/shm/sem.loky-of-a-test").unlink()


def test_a_strangers_block_is_not_counted(stranger: str) -> None:
    assert stranger not in conftest._blocks()
    assert "sem.loky-of-a-test" not in conftest._blocks()
    assert "sem.loky-of-a-test" not in process._shm_entries()


def test_a_block_that_nobody_has_any_more_is() -> None:
    path = Path("/dev/shm/psm_left-by-a-test")
    path.write_bytes(b"x")
    try:
        assert path.name in conftest._blocks()
        assert path.name in process._shm_entries()
    finally:
        path.unlink()
