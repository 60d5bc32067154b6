"""ENOMEM: an app's process, or the server, may have no more memory (RLIMIT_AS)."""

from __future__ import annotations

import resource
from pathlib import Path

import psutil
from faults.limits import limited
from faults.served import Served

MIB = 2**20

FILL = """
held = []
try:
    while True:
        held.append(bytearray(2**20))
except MemoryError:
    print("no more")
"""

LARGE = """
from mpkernel.kernel.progress import progress_bar

for _ in progress_bar([1], title="x" * 2**26):
    pass
"""


def addresses_of(pid: int) -> int:
    return int(psutil.Process(pid).memory_info().vms)


def test_code_that_fills_the_memory_is_told_and_the_others_go_on(folder: Path) -> None:
    with Served(folder) as server, server.steadily():
        server.ask("open", name="greedy")
        server.ask("open", name="other")
        (host,) = server.ask("hosts", app="one.py")
        server.says("other", "print('here')")
        with limited(host, resource.RLIMIT_AS, addresses_of(host) + 64 * MIB):
            assert server.says("greedy", FILL) == "no more\n"
            assert server.says("other", "print('still here')") == "still here\n"
            failed = server.ask("execute", name="other", code="bytearray(2**26)")
            assert failed["failures"] == ["MemoryError: "]
            server.says("greedy", "held.clear()")
            assert server.says("other", "len(bytearray(2**24))") == ""
        assert server.ask("hosts", app="one.py") == [host]


def test_a_message_for_which_an_app_has_no_memory_ends_its_session_alone(folder: Path) -> None:
    with Served(folder) as server, server.steadily():
        for name in ("one", "other"):
            server.ask("open", name=name)
            server.says(name, "mine = 1")
        (host,) = server.ask("hosts", app="one.py")
        with limited(host, resource.RLIMIT_AS, addresses_of(host) + 16 * MIB):
            server.ask("assign", name="one", size=64 * MIB)
            refusal = server.refused("until_done", name="one")
            assert refusal.kind == "KernelFailed"
            assert "does not fit into memory" in refusal.what
            assert "send less at once" in refusal.what
            assert server.says("other", "print(mine)") == "1\n"
        server.ask("assign", name="other", size=64 * MIB)
        assert server.says("other", "print(len(blob), mine)") == f"{64 * MIB} 1\n"
        assert server.ask("hosts", app="one.py") == [host]


def test_output_for_which_the_server_has_no_memory_ends_its_session_alone(folder: Path) -> None:
    with Served(folder) as server, server.steadily():
        for name in ("one", "other"):
            server.ask("open", name=name)
            server.says(name, "mine = 1")
        with limited(server.pid, resource.RLIMIT_AS, addresses_of(server.pid) + 16 * MIB):
            refusal = server.refused("execute", name="one", code=LARGE)
            assert refusal.kind == "KernelFailed"
            assert "one of one.py" in refusal.what
            assert "does not fit into memory of the server" in refusal.what
            assert "give the server more memory" in refusal.remedy
            assert server.says("other", "print(mine)") == "1\n"
        assert server.says("other", LARGE) == ""
