"""EMFILE in an app's process: user code has opened as many files as the limit allows."""

from __future__ import annotations

from pathlib import Path

from faults.served import STORE, Served

EXHAUST = """
import os, resource
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
held = []
try:
    while True:
        held.append(os.open("/dev/null", os.O_RDONLY))
except OSError as error:
    print(error.strerror)
"""
RELEASE = """
while held:
    os.close(held.pop())
"""


def test_only_what_needs_a_descriptor_fails(folder: Path) -> None:
    with Served(folder) as server:
        server.ask("open", name="greedy")
        server.ask("open", name="other")
        server.says("other", STORE.format(size=1))
        assert server.says("greedy", EXHAUST) == "Too many open files\n"
        assert server.says("other", "print('still here')") == "still here\n"
        server.ask("open", name="late")
        assert server.says("late", "import sys; print('late', file=sys.stderr)") == "late\n"
        found = server.ask("execute", name="late", code=STORE.format(size=300_000))
        (failure,) = found["tracebacks"]
        assert failure.rpartition("shm.errors.")[2].startswith(
            "Unavailable: no temporary file can be had"
        )
        assert "no shared memory can be had: [Errno 24] Too many open files" in failure
        server.says("greedy", RELEASE)
        key = server.says("late", STORE.format(size=300_000)).strip()
        assert server.ask("read", key=key)["size"] == 300_000
        assert len(server.ask("hosts", app="one.py")) == 1
