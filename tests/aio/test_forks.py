"""Descriptors that lead nowhere in forks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FORK = """
import os, resource, sys
from mpkernel.aio.forks import release, withhold_from_forks

def read(end):
    try:
        return os.read(end, 9)
    except BlockingIOError:
        return None

pipes = [os.pipe() for _ in range(5)]
for reading, writing in pipes:
    os.set_blocking(reading, False)
    os.write(writing, b"x")
    withhold_from_forks(reading, writing)
release(*pipes[-1])
if sys.argv[1:] == ["full"]:
    resource.setrlimit(resource.RLIMIT_NOFILE, (pipes[-1][1] + 1,) * 2)
if not os.fork():
    print([read(reading) for reading, _ in pipes], flush=True)
    for _, writing in pipes[2:-1]:
        os.write(writing, b"lost")
    os._exit(0)
os.wait()
print([read(reading) for reading, _ in pipes])
"""


@pytest.mark.parametrize("argument", ["", "full"])
def test_a_fork_neither_reads_nor_writes_what_is_withheld(argument: str) -> None:
    """Also where no more descriptors may be open."""
    command = [sys.executable, "-c", FORK, argument]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60)
    in_fork, in_parent = ran.stdout.splitlines()
    assert in_fork == str([None] * 4 + [b"x"])
    assert in_parent == str([b"x"] * 4 + [None])
    assert not ran.stderr


REUSED = """
import os
from mpkernel.aio.forks import withhold_from_forks

before = os.pipe()
withhold_from_forks(*before)
for end in before:
    os.close(end)
reading, writing = os.pipe()
assert (reading, writing) == before
if not os.fork():
    os.write(writing, b"from the fork")
    os._exit(0)
os.wait()
os.set_blocking(reading, False)
print(os.read(reading, 20))
"""


def test_a_descriptor_that_has_got_the_number_of_a_withheld_one_is_left_alone() -> None:
    ran = subprocess.run([sys.executable, "-c", REUSED], capture_output=True, text=True, timeout=60)
    assert ran.stdout == "b'from the fork'\n", ran.stderr


LOCKED = """
import fcntl, os, sys
from mpkernel.aio.forks import unlocked

lock = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(lock, fcntl.LOCK_EX)
end, other = os.pipe()
fork = os.fork()
if not fork:
    os.close(other)
    os.read(end, 1)
    os._exit(0)
unlocked(lock)
again = os.open(sys.argv[1], os.O_RDWR)
fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB)
print("free while the fork lives:", os.waitpid(fork, os.WNOHANG) == (0, 0))
"""


def test_a_lock_that_is_freed_is_not_kept_by_a_fork(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LOCKED, str(tmp_path / "lock")]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ran.stdout == "free while the fork lives: True\n", ran.stderr
