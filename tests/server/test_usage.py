"""What is measured of processes: memory, CPU time, threads, descriptors, and to which app they
belong."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import psutil
import pytest
from server.processes import Program

from mpkernel.process_tree import stat_of
from mpkernel.server.supervision.reading import Reading, descriptors_of, read_process
from mpkernel.server.supervision.usage import Sampler, Usage, created_at

MIB = 2**20
HOARD = "hoard = bytearray(os.urandom(1024)) * 65536; say('hoards', os.getpid()); stay()"
READ = "mpkernel.server.supervision.usage.read_process"
BURN = "\nwhile time.process_time() < 0.3: pass\n"

Start = Callable[[str], Program]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a program that is ended with the test."""
    with ExitStack() as programs:
        yield lambda code: programs.enter_context(closing(Program(code)))


@pytest.fixture
def sampler() -> Sampler:
    return Sampler()


@pytest.fixture
def exchanged(monkeypatch: pytest.MonkeyPatch) -> dict[int, int]:
    """Process ids under which another process is found: what a number used again looks like."""
    exchanged: dict[int, int] = {}

    class Exchanged(psutil.Process):
        def __init__(self, pid: int) -> None:
            super().__init__(exchanged.get(pid, pid))

    monkeypatch.setattr(psutil, "Process", Exchanged)
    monkeypatch.setattr(READ, lambda pid: read_process(exchanged.get(pid, pid)))
    return exchanged


def sample_of(sampler: Sampler, program: Program) -> Usage:
    return sampler.sample({program.pid: created_at(program.pid)})[program.pid]


def gone_pid() -> int:
    """The id of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    return process.pid


def test_a_host_alone_is_one_process_with_its_own_memory(start: Start, sampler: Sampler) -> None:
    program = start(HOARD)
    program.hear()
    usage = sample_of(sampler, program)
    assert usage.processes == 1
    assert 64 * MIB < usage.rss_bytes < 128 * MIB
    assert usage.cpu_s == usage.host_cpu_s


def test_the_memory_of_a_child_of_a_child_counts(start: Start, sampler: Sampler) -> None:
    program = start(f"run({f'run({HOARD!r}).wait()'!r}).wait()")
    program.hear()
    usage = sample_of(sampler, program)
    assert usage.processes == 3
    assert usage.rss_bytes > 64 * MIB


def test_an_orphan_in_the_hosts_session_counts(start: Start, sampler: Sampler) -> None:
    program = start(f"run({f'run({HOARD!r})'!r}).wait(); say('orphaned'); stay()")
    heard = [program.hear(), program.hear()]
    assert ["orphaned"] in heard
    usage = sample_of(sampler, program)
    assert usage.processes == 2
    assert usage.rss_bytes > 64 * MIB


def test_a_process_in_a_session_of_its_own_counts(start: Start, sampler: Sampler) -> None:
    program = start(f"run({HOARD!r}, start_new_session=True).wait()")
    program.hear()
    assert sample_of(sampler, program).rss_bytes > 64 * MIB


def test_it_counts_on_when_its_parent_has_ended(start: Start, sampler: Sampler) -> None:
    middle = f"run({HOARD!r}, start_new_session=True); hear()"
    program = start(f"run({middle!r}).wait(); say('orphaned'); stay()")
    program.hear()
    assert sample_of(sampler, program).processes == 3
    program.say()
    assert program.hear() == ["orphaned"]
    usage = sample_of(sampler, program)
    assert usage.processes == 2
    assert usage.rss_bytes > 64 * MIB


def test_a_process_that_starts_between_two_samples_counts(start: Start, sampler: Sampler) -> None:
    program = start(f"say('ready'); hear(); run({HOARD!r}).wait()")
    program.hear()
    assert sample_of(sampler, program).processes == 1
    program.say()
    program.hear()
    assert sample_of(sampler, program).processes == 2


def test_each_host_has_its_own(start: Start, sampler: Sampler) -> None:
    small, large = start("say('ready'); stay()"), start(HOARD)
    for program in (small, large):
        program.hear()
    usages = sampler.sample({one.pid: created_at(one.pid) for one in (small, large)})
    assert usages[small.pid].rss_bytes < 64 * MIB < usages[large.pid].rss_bytes


def test_a_host_that_comes_later_has_all_that_it_started(start: Start, sampler: Sampler) -> None:
    program = start(f"run({HOARD!r}, start_new_session=True).wait()")
    program.hear()
    assert sampler.sample({}) == {}
    assert sample_of(sampler, program).processes == 2


def test_another_process_with_a_hosts_number_is_not_the_host(
    start: Start, sampler: Sampler
) -> None:
    program = start("say('ready'); stay()")
    program.hear()
    created = created_at(program.pid)
    for other in (created - 3600, created + 3600, 0.0):
        assert sampler.sample({program.pid: other}) == {}
    assert program.pid in sampler.sample({program.pid: created})


def test_a_number_that_became_anothers_between_two_samples_is_not_counted(
    start: Start, sampler: Sampler, exchanged: dict[int, int]
) -> None:
    program = start(f"run({HOARD!r}, start_new_session=True).wait()")
    child = int(program.hear()[1])
    assert sample_of(sampler, program).processes == 2
    exchanged[child] = os.getpid()
    assert [sample_of(sampler, program).processes for _ in range(2)] == [1, 1]


def test_a_host_whose_number_became_anothers_between_two_samples_is_left_out(
    start: Start, sampler: Sampler, exchanged: dict[int, int]
) -> None:
    program = start("say('ready'); stay()")
    program.hear()  # so that the other one does not begin in the same tick of the system's clock
    other = start("say('ready'); stay()")
    other.hear()
    host = {program.pid: created_at(program.pid)}
    assert list(sampler.sample(host)) == [program.pid]
    exchanged[program.pid] = other.pid
    assert sampler.sample(host) == {}


def test_a_host_that_is_gone_is_left_out_and_the_others_are_not(
    start: Start, sampler: Sampler
) -> None:
    program = start("say('ready'); stay()")
    program.hear()
    usages = sampler.sample({gone_pid(): 0.0, program.pid: created_at(program.pid)})
    assert list(usages) == [program.pid]


def test_a_host_that_has_ended_and_waits_to_be_reaped_is_left_out(
    start: Start, sampler: Sampler
) -> None:
    program = start("say('ready'); stay()")
    program.hear()
    created = created_at(program.pid)
    program.kill()
    assert sampler.sample({program.pid: created}) == {}


def test_what_a_host_has_left_is_known_after_its_end(start: Start, sampler: Sampler) -> None:
    """A sample may be taken between its end and the moment in which its server hears of that."""
    program = start(f"run({HOARD!r}, start_new_session=True).wait()")
    child = int(program.hear()[1])
    hosts = {program.pid: created_at(program.pid)}
    sampler.sample(hosts)
    program.kill()
    assert sampler.sample(hosts) == {}
    stat = stat_of(child)
    assert stat is not None
    assert stat.identity in sampler.seen[program.pid]
    sampler.sample({})
    assert sampler.seen == {}


def test_processes_that_end_under_the_look_are_no_error(
    start: Start, sampler: Sampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = start("say('ready'); stay()")
    program.hear()
    pids = psutil.pids
    monkeypatch.setattr(psutil, "pids", lambda: [*pids(), gone_pid()])
    assert sample_of(sampler, program).processes == 1


def test_a_host_that_starts_many_short_processes_is_sampled_all_the_while(
    start: Start, sampler: Sampler
) -> None:
    program = start("say('ready')\nfor _ in range(150): subprocess.call('true')\nsay('done')")
    program.hear()
    host = {program.pid: created_at(program.pid)}
    samples = []
    while sampled := sampler.sample(host):
        samples.append(sampled[program.pid])
    assert max(usage.processes for usage in samples) > 1


def test_a_child_that_may_not_be_read_is_no_error(
    start: Start, sampler: Sampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = start(f"run({HOARD!r}).wait()")
    child = int(program.hear()[1])
    monkeypatch.setattr(READ, _denied(read_process, child))
    usage = sample_of(sampler, program)
    assert usage.processes == 1
    assert 0 < usage.rss_bytes < 64 * MIB


def test_descriptors_that_may_not_be_counted_are_unknown(
    start: Start, sampler: Sampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = start("say('ready'); stay()")
    program.hear()
    stat = os.stat

    def denied(path: str, **options: Any) -> os.stat_result:
        if path == f"/proc/{program.pid}/fd":
            raise PermissionError(errno.EACCES, "denied", path)
        return stat(path, **options)

    monkeypatch.setattr(os, "stat", denied)
    usage = sample_of(sampler, program)
    assert usage.descriptors is None
    assert usage.rss_bytes > 0


@pytest.mark.skipif(sys.platform != "linux", reason="psutil is asked anyway")
def test_what_the_system_tells_in_one_file_is_what_psutil_finds(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = start(f"run({BURN!r}).wait(); run({HOARD!r}).wait()")
    program.hear()
    program.stop()
    read, descriptors = read_process(program.pid), descriptors_of(program.pid)
    assert read.children_cpu_s > 0.2
    monkeypatch.setattr(sys, "platform", "another")
    asked = read_process(program.pid)
    assert (read.has_ended, read.threads) == (asked.has_ended, asked.threads)
    assert read.cpu_s == pytest.approx(asked.cpu_s, abs=0.02)
    assert read.children_cpu_s == pytest.approx(asked.children_cpu_s, abs=0.02)
    assert read.rss_bytes == pytest.approx(asked.rss_bytes, rel=0.1)
    assert descriptors == descriptors_of(program.pid) == len(os.listdir(f"/proc/{program.pid}/fd"))


def test_threads_and_descriptors_are_the_hosts_own(start: Start, sampler: Sampler) -> None:
    program = start(
        "say('ready'); hear()\n"
        "for _ in range(3): threading.Thread(target=threading.Event().wait).start()\n"
        "kept = [open('/dev/null') for _ in range(5)]\n"
        f"run({HOARD!r}).wait()"
    )
    program.hear()
    before = sample_of(sampler, program)
    program.say()
    program.hear()
    after = sample_of(sampler, program)
    assert after.threads - before.threads == 3
    assert after.descriptors == (before.descriptors or 0) + 5


def test_cpu_time_of_children_counts_and_is_not_the_hosts_own(
    start: Start, sampler: Sampler
) -> None:
    program = start(f"run({BURN!r}).wait(); run({BURN + HOARD!r}).wait()")
    program.hear()
    usage = sample_of(sampler, program)
    assert usage.cpu_s > 0.5
    assert usage.host_cpu_s < 0.3


def test_the_cpu_time_of_a_stopped_host_stands_still(start: Start, sampler: Sampler) -> None:
    programs = [start("say('ready')\nwhile True: pass") for _ in range(2)]
    for program in programs:
        program.hear()
    stopped, running = programs
    stopped.stop()
    hosts = {program.pid: created_at(program.pid) for program in programs}
    before = after = sampler.sample(hosts)
    while after[running.pid].host_cpu_s < before[running.pid].host_cpu_s + 0.2:
        after = sampler.sample(hosts)
    assert after[stopped.pid].host_cpu_s == before[stopped.pid].host_cpu_s
    assert after[stopped.pid].taken_at > before[stopped.pid].taken_at


def _denied(read: Callable[[int], Reading], to: int) -> Callable[[int], Reading]:
    """`read` as the system answers it for a process that may not be looked at."""

    def denied(pid: int) -> Reading:
        if pid == to:
            raise psutil.AccessDenied(pid)
        return read(pid)

    return denied
