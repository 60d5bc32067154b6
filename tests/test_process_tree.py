"""Which processes descend from a process."""

from __future__ import annotations

import os
import subprocess

from mpkernel.process_tree import descendants_of, stat_of


def test_a_descendant_that_has_ended_is_found_until_it_is_reaped() -> None:
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    stat = stat_of(child.pid)
    assert stat is not None
    assert stat.has_ended
    assert stat.identity in descendants_of(os.getpid())
    child.wait()
    assert stat.identity not in descendants_of(os.getpid())
