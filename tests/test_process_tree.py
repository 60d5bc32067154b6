"""Which processes descend from a process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from waiting import until

from mpkernel.process_tree import Identity, descendants_of, kill_all, stat_of


def test_a_descendant_that_has_ended_is_found_until_it_is_reaped() -> None:
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    stat = stat_of(child.pid)
    assert stat is not None
    assert stat.has_ended
    assert stat.identity in descendants_of(os.getpid())
    child.wait()
    assert stat.identity not in descendants_of(os.getpid())


LEAVES_A_CHAIN = """
import subprocess, sys
from mpkernel.orphans import adopt_orphans

adopt_orphans()
chain = "import os\\nwhile True:\\n    if os.fork(): os._exit(0)"
child = subprocess.Popen([sys.executable, "-c", chain], start_new_session=True)
print(child.pid, flush=True)
sys.stdin.read()
"""


def test_a_chain_that_is_quicker_than_each_look_is_killed_as_a_group() -> None:
    """Each process of the chain starts the next one and ends, long before it could be killed."""
    adopter = subprocess.Popen(
        [sys.executable, "-c", LEAVES_A_CHAIN], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert adopter.stdout is not None
        first = int(adopter.stdout.readline())
        until(lambda: len(descendants_of(adopter.pid)) > 2)
        adopter.send_signal(signal.SIGSTOP)

        looks: list[list[Identity]] = []

        def found_late() -> list[Identity]:
            looks.append(found := descendants_of(adopter.pid))
            time.sleep(0.02)  # the look of a busy machine; some links of the chain take as long
            return found

        assert len(kill_all(found_late).processes) > 2
        assert len(looks) < 20
        alive = [one for one in descendants_of(adopter.pid) if not has_ended(one)]
        assert not [one for one in alive if os.getpgid(one.pid) == first]
        stat = stat_of(adopter.pid)
        assert stat is not None
        assert not stat.has_ended
    finally:
        adopter.kill()
        adopter.communicate()


def has_ended(one: Identity) -> bool:
    stat = stat_of(one.pid)
    return stat is None or stat.identity != one or stat.has_ended
