"""What the stopper decides, with a clock that the tests set, and what it sees of real threads."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from clocks import Clock
from threads_of_tests import thread_in
from waiting import PATIENCE_S

from mpkernel import HostPool, KernelSpec, Settings
from mpkernel.errors import KernelFailed
from mpkernel.host.stopping import Stopper, thread_clock

GRACE_S = 2.0
JUDGED_S = GRACE_S + 0.5


class FakeKernel:
    """A kernel whose thread takes as much CPU time as is said, and counts what is done to it."""

    def __init__(self, clock: Clock, *, busy: float = 0.0, runs: bool = True) -> None:
        self.session_id = "session"
        self.ended = False
        self.busy = busy
        self.runs = runs
        self.interrupts: list[float] = []
        self.muted = False
        self.error: str | None = None
        self._clock = clock

    def interrupt(self) -> bool:
        self.interrupts.append(self._clock())
        return self.runs

    def cpu_s(self) -> float | None:
        return self.busy * self._clock()

    def mute(self) -> None:
        self.muted = True

    def abandon(self, error: str) -> None:
        self.error = error


class Bench:
    """A stopper and its clock."""

    def __init__(self) -> None:
        self.clock = Clock(0.0)
        self.drains: list[str] = []
        self.stopper = Stopper(
            grace_s=GRACE_S, max_abandoned=2, want_drain=self.drains.append, clock=self.clock
        )

    def run_for(self, seconds: float) -> None:
        """Turn the clock, and do what is due when it is due."""
        end = self.clock.now_s + seconds
        while (due_s := self.stopper.run_due()) is not None and self.clock.now_s + due_s <= end:
            self.clock.now_s += due_s
        self.clock.now_s = end

    def kernel(self, *, busy: float = 0.0, runs: bool = True) -> FakeKernel:
        return FakeKernel(self.clock, busy=busy, runs=runs)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_nothing_is_due_before_the_first_stop(bench: Bench) -> None:
    assert bench.stopper.run_due() is None


def test_a_kernel_that_ends_is_forgotten(bench: Bench) -> None:
    kernel = bench.kernel(busy=1.0)
    bench.stopper.stop(kernel)
    bench.run_for(0.1)
    kernel.ended = True
    bench.run_for(60)
    assert bench.stopper.run_due() is None
    assert kernel.error is None
    assert not bench.drains


def test_interrupts_are_repeated_at_growing_pauses_for_the_grace(bench: Bench) -> None:
    kernel = bench.kernel()
    bench.stopper.stop(kernel)
    bench.run_for(JUDGED_S)
    assert kernel.interrupts[0] == 0
    assert kernel.interrupts[-1] == GRACE_S
    pauses = [
        after - before
        for before, after in zip(kernel.interrupts, kernel.interrupts[1:], strict=False)
    ]
    assert 5 < len(pauses) < 20
    assert pauses[:4] == sorted(pauses[:4])
    bench.run_for(600)
    assert len(kernel.interrupts) < 60


def test_patience_comes_before_the_first_interrupt(bench: Bench) -> None:
    kernel = bench.kernel()
    bench.stopper.stop(kernel, 10.0)
    bench.run_for(9.9)
    assert not kernel.interrupts
    assert not kernel.muted
    bench.run_for(0.2)
    assert kernel.interrupts
    assert kernel.muted


def test_the_shorter_of_two_patiences_counts(bench: Bench) -> None:
    kernel = bench.kernel()
    bench.stopper.stop(kernel, 10.0)
    bench.stopper.stop(kernel, 0.0)
    bench.stopper.stop(kernel, 20.0)
    bench.run_for(0.001)
    assert kernel.interrupts


def test_one_whose_cpu_time_grows_is_deaf(bench: Bench) -> None:
    kernel = bench.kernel(busy=0.05)
    bench.stopper.stop(kernel)
    bench.run_for(JUDGED_S)
    assert len(bench.drains) == 1
    assert kernel.error is not None
    assert bench.stopper.run_due() is None


def test_one_whose_cpu_time_stands_is_abandoned(bench: Bench) -> None:
    kernel = bench.kernel(busy=0.01)  # it polls
    bench.stopper.stop(kernel)
    bench.run_for(JUDGED_S)
    assert kernel.error is not None
    assert bench.stopper.abandoned == 1
    assert not bench.drains
    kernel.ended = True
    assert bench.stopper.abandoned == 0


def test_one_too_many_abandoned_has_the_host_drain(bench: Bench) -> None:
    for kernel in (bench.kernel(), bench.kernel()):
        bench.stopper.stop(kernel)
    bench.run_for(60)
    assert not bench.drains
    bench.stopper.stop(bench.kernel())
    bench.run_for(JUDGED_S)
    assert len(bench.drains) == 1


def test_an_abandoned_one_that_wakes_and_spins_is_interrupted_and_then_deaf(bench: Bench) -> None:
    kernel = bench.kernel()
    bench.stopper.stop(kernel)
    bench.run_for(JUDGED_S)
    interrupted = len(kernel.interrupts)
    kernel.busy = 1.0
    bench.run_for(10)
    assert len(kernel.interrupts) > interrupted
    assert len(bench.drains) == 1


def test_a_kernel_that_starts_or_ends_by_itself_has_more_time(bench: Bench) -> None:
    kernel = bench.kernel(busy=1.0, runs=False)
    bench.stopper.stop(kernel)
    bench.run_for(2 * JUDGED_S)
    assert not bench.drains
    bench.run_for(5 * JUDGED_S)
    assert len(bench.drains) == 1


def test_the_clock_of_a_thread_is_its_own_and_may_outlive_it() -> None:
    clocks: list[Callable[[], float | None]] = []

    def spin(_: threading.Event) -> None:
        clocks.append(thread_clock())
        until_s = time.thread_time() + 0.05
        while time.thread_time() < until_s:
            pass

    mine = thread_clock()
    assert mine() is not None
    with thread_in(spin):
        pass
    assert clocks[0]() is None or clocks[0]() == pytest.approx(0.05, abs=0.04)


SPINS = """
import time

def polite(kernel):
    import os
    kernel.send(str(os.getpid()).encode())
    for message in kernel:
        kernel.send(message.payload)

def spins(kernel):
    kernel.send(b"begun")
    while True: pass
"""


async def test_a_kernel_without_interrupts_that_spins_drains_its_host(tmp_path: Path) -> None:
    app = tmp_path / "spinning.py"
    app.write_text(SPINS)
    settings = Settings(interrupt_grace_s=0.2, stop_grace_s=6)
    async with HostPool(settings) as pool:
        other = await pool.open_session(app, kernel=KernelSpec(entry="spinning:polite"))
        old = psutil.Process(int((await anext(other)).payload))
        session = await pool.open_session(app, kernel=KernelSpec(entry="spinning:spins"))
        assert (await anext(session)).payload == b"begun"
        session.stop()
        with pytest.raises(KernelFailed, match="whatever interrupts it"):
            await anext(session)
        new = await pool.open_session(app, kernel=KernelSpec(entry="spinning:polite"))
        assert int((await anext(new)).payload) != old.pid
        await other.close()
        await asyncio.to_thread(old.wait, PATIENCE_S)
