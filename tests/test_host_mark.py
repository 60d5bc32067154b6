"""The mark that all descendants of a host have, whatever they do."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from mpkernel.host_mark import HostMark

MARKED = "from mpkernel.host_mark import mark_own_process as mark; mark(); "


@contextmanager
def marked(then: str) -> Iterator[tuple[int, int]]:
    """The process ids of a marked process that does this, and of a child of its; the child tells
    its own, and ends with its input."""
    command = [sys.executable, "-c", f"import os, subprocess; {MARKED}{then}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        yield process.pid, int(process.stdout.readline())
        process.stdin.close()


CHILD = "subprocess.run(['setsid', 'env', '-i', 'sh', '-c', 'echo $$; read x'], close_fds=True)"


def test_a_mark_names_its_host_and_is_on_what_the_host_starts() -> None:
    with marked(CHILD) as (host, child):
        assert HostMark.on(child) == HostMark.on(host) == HostMark.of_host(host)
        assert not HostMark.of_host(host).is_of_dead_host


def test_a_mark_tells_that_its_host_is_gone() -> None:
    with marked("os.fork() or os.execvp('sh', ['sh', '-c', 'echo $$; read x'])") as (host, child):
        mark = HostMark.on(child)
        assert mark is not None
        assert mark.pid == host
        os.waitid(os.P_PID, host, os.WEXITED | os.WNOWAIT)
        assert mark.is_of_dead_host


def test_a_host_of_another_pid_namespace_may_live() -> None:
    own = HostMark.of_host(os.getpid())
    earlier = own._replace(start=own.start ^ 1)
    assert earlier.is_of_dead_host
    assert not earlier._replace(namespace=own.namespace ^ 1).is_of_dead_host


@pytest.mark.parametrize("limit", [0, 1000, -1])
def test_a_limit_of_somebody_elses_is_no_mark(limit: int) -> None:
    lower = f"import resource; resource.setrlimit(10, ({limit}, -1)); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", lower], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert HostMark.on(process.pid) is None
        process.communicate(b"\n")


def test_the_mark_keeps_nobody_from_setting_the_limit() -> None:
    with marked(CHILD) as (host, child):
        soft, hard = resource.prlimit(child, 10)
        assert soft == HostMark.of_host(host).number
        assert hard == resource.getrlimit(10)[1]
