"""Where the system reports processes that it killed for lack of memory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mpkernel.server.supervision import exit_status
from mpkernel.server.supervision.exit_status import OutOfMemory, _memory_groups

V2 = "30 23 0:26 {top} /sys/fs/cgroup rw - cgroup2 cgroup2 rw"
V1 = "35 31 0:32 {top} /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory"

OTHERS = "99 23 0:97 / /mnt/caf\udce9\x0b\u2028\x85 rw - tmpfs tmpfs rw\n"
"""Its name is no UTF-8, and has characters that Python, unlike the system, takes for line ends."""


@pytest.mark.parametrize(
    ("groups", "mounts", "found"),
    [
        ("0::/system.slice/a.service", V2.format(top="/"), "sys/fs/cgroup/system.slice/a.service"),
        ("0::/", V2.format(top="/"), "sys/fs/cgroup"),
        ("0::/docker/1f", V2.format(top="/docker/1f"), "sys/fs/cgroup"),
        ("0::/docker/1f/app", V2.format(top="/docker/1f"), "sys/fs/cgroup/app"),
        ("4:memory:/docker/1f", V1.format(top="/docker/1f"), "sys/fs/cgroup/memory"),
        ("0::/caf\udce9\x85", V2.format(top="/"), "sys/fs/cgroup/caf\udce9\x85"),
        ("0::/", OTHERS + V2.format(top="/"), "sys/fs/cgroup"),
        ("4:cpu,memory:/a\n3:cpuset:/b", V1.format(top="/"), "sys/fs/cgroup/memory/a"),
        ("0::/elsewhere", V2.format(top="/docker/1f"), None),
        ("3:cpuset:/a", V1.format(top="/"), None),
    ],
)
def test_the_group_is_found_in_a_container_too(
    tmp_path: Path, groups: str, mounts: str, found: str | None
) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_bytes(os.fsencode(groups + "\n"))
    (tmp_path / "proc/self/mountinfo").write_bytes(os.fsencode(mounts + "\n"))
    expected = [] if found is None else [tmp_path / found]
    assert _memory_groups(tmp_path) == expected


def test_only_what_was_killed_since_the_last_answer_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exit_status, "_memory_groups", lambda: [tmp_path])
    events = tmp_path / "memory.events"
    events.write_text("oom 1\noom_kill 1\n")
    memory = OutOfMemory()
    assert not memory.happened()
    events.write_text("oom 2\noom_kill 2\n")
    assert memory.happened()
    memory.begin_anew()
    assert not memory.happened()
    events.unlink()
    assert not memory.happened()
