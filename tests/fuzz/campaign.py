"""A run of many inputs: what is counted meanwhile, and what is kept of one that fails.

    python -m tests.fuzz.campaign server --frames 10000000
    python -m tests.fuzz.campaign host --frames 10000000 --seed 7
    python -m tests.fuzz.campaign replay tests/fuzz/found/*.bin

Its exit code says whether all went well: no exception but `ProtocolError`, nothing logged as an
error, no hang, no growth.
"""

from __future__ import annotations

import argparse
import collections
import faulthandler
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple, Protocol

import uvloop

from tests.fuzz import corpus
from tests.fuzz.host_target import HostTarget
from tests.fuzz.inputs import decode_input
from tests.fuzz.mutation import Mutator
from tests.fuzz.server_target import ServerTarget
from tests.fuzz.watching import FOUND, HangWatch, WatchedLog, keep, usage

__all__ = [
    "TARGETS",
    "Found",
    "Report",
    "Target",
    "mutator_for",
    "replay",
    "run",
]

_WARM_UP_INPUTS = 150
_LEAST_INPUTS = 450
_GROWTH = {"resident bytes": 32 * 2**20, "threads": 4, "descriptors": 4}
_REPORT_EVERY_S = 30.0


class Target(Protocol):
    """What is fuzzed."""

    def run(self, pieces: list[tuple[int, bytes]]) -> tuple[str, int]:
        """Feed one input. Returns what became of it, and how many pieces were taken."""
        ...

    def close(self) -> None:
        """End the threads and processes that the target has started."""
        ...


TARGETS: dict[str, Callable[[], Target]] = {
    "server": ServerTarget,
    "server_uvloop": lambda: ServerTarget(uvloop.new_event_loop),
    "host": HostTarget,
}


class Report(NamedTuple):
    """The result of a run.

    Attributes:
        inputs: how many lives.
        frames: how many mutated frames were taken, at least: of a piece in which something broke,
            none is counted.
        seconds: how long it took.
        outcomes: what became of inputs, with numbers and quotations left out, and how often.
        rss_bytes: resident memory after a warm-up, and at the end.
        threads: the same for threads.
        descriptors: the same for open descriptors.
    """

    inputs: int
    frames: int
    seconds: float
    outcomes: collections.Counter[str]
    rss_bytes: tuple[int, int]
    threads: tuple[int, int]
    descriptors: tuple[int, int]

    @property
    def growth(self) -> list[str]:
        """The resources of which there are more than at the beginning."""
        pairs = (self.rss_bytes, self.threads, self.descriptors)
        return [
            f"{what}: {before} -> {after}"
            for what, (before, after), most in zip(_GROWTH, pairs, _GROWTH.values(), strict=True)
            if after - before > most
        ]

    def __str__(self) -> str:
        before, after = (size / 2**20 for size in self.rss_bytes)
        lines = [
            f"{self.frames:,} mutated frames in {self.inputs:,} inputs in {self.seconds:.0f} s,"
            f" {self.frames / self.seconds:,.0f} a second",
            f"RSS {before:.1f} -> {after:.1f} MiB, threads {self.threads[0]} -> {self.threads[1]},"
            f" descriptors {self.descriptors[0]} -> {self.descriptors[1]}",
            f"{len(self.outcomes)} distinct outcomes, the most frequent:",
            *(f"{count:10,}  {what}" for what, count in self.outcomes.most_common(12)),
        ]
        return "\n".join(lines)


class Found(Exception):
    """An input has failed, and was kept."""


def mutator_for(target: str, random: Random, *, breaking: float) -> Mutator:
    """The `Mutator` that makes inputs for this target."""
    if target.startswith("server"):
        return Mutator(
            random,
            corpus.up(),
            corpus.first_up(),
            has_client=True,
            forged=10 * breaking,  # of a quarter of all frames, and a server forgives none
            breaking=breaking,
        )
    return Mutator(random, corpus.down(), corpus.first_down(), breaking=breaking)


def run(
    target_name: str,
    *,
    frames: int,
    seed: int,
    folder: Path,
    breaking: float = 0.002,
    verbose: bool = False,
) -> Report:
    """Feed mutated inputs until so many frames were taken.

    Args:
        target_name: one of `TARGETS`.
        frames: how many, at least.
        seed: another one gives other inputs.
        folder: where an input that fails is written.
        breaking: how many of all frames are broken.
        verbose: whether to print how far it is, now and then.

    Raises:
        Found: an input failed.
    """
    random = Random()
    mutator = mutator_for(target_name, random, breaking=breaking)
    log, hang_watch = WatchedLog(), HangWatch(target_name, folder)
    target = TARGETS[target_name]()
    outcomes: collections.Counter[str] = collections.Counter()
    taken = inputs = 0
    before = usage()
    began = reported = time.monotonic()
    try:
        while taken < frames or inputs < _LEAST_INPUTS:
            if inputs == _WARM_UP_INPUTS:
                before = usage()
            random.seed(f"{seed} {inputs}")
            made = mutator.input()
            hang_watch.begin(made.pieces)
            try:
                outcome, pieces_taken = target.run(made.pieces)
                log.raise_fault()
            except Exception as error:
                path = keep(target_name, made.pieces, folder)
                raise Found(
                    f"{type(error).__name__}: {error}: seed {seed}, input {inputs}, kept as {path}"
                ) from error
            inputs += 1
            taken += sum(made.frames[:pieces_taken])
            outcomes[_without_particulars(outcome)] += 1
            if verbose and time.monotonic() - reported > _REPORT_EVERY_S:
                reported = time.monotonic()
                print(f"{taken:,} frames, {inputs:,} inputs, {usage()[0] / 2**20:.1f} MiB")
    finally:
        after = usage()
        target.close()
        log.close()
        hang_watch.close()
    seconds = time.monotonic() - began
    return Report(inputs, taken, seconds, outcomes, *zip(before, after, strict=True))


def _without_particulars(outcome: str) -> str:
    return re.sub(r"['\"`].*|\d+|[^\x20-\x7e]", "…", outcome)[:100]


def replay(paths: Sequence[Path]) -> None:
    """Feed inputs that are kept. Raises whatever goes wrong."""
    by_target: dict[str, list[Path]] = {}
    for path in paths:
        by_target.setdefault(path.name.partition("-")[0], []).append(path)
    for name, its_paths in by_target.items():
        log, target = WatchedLog(), TARGETS[name]()
        try:
            for path in its_paths:
                outcome, _ = target.run(decode_input(path.read_bytes()))
                log.raise_fault()
                print(f"{path.name}: {outcome}")
        finally:
            target.close()
            log.close()


def main() -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("what", choices=[*TARGETS, "replay"])
    parser.add_argument("paths", nargs="*", type=Path, help="what to replay")
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--breaking", type=float, default=0.002, help="of all frames (%(default)s)")
    parser.add_argument("--folder", type=Path, default=FOUND, help="where what fails is written")
    options = parser.parse_args()
    faulthandler.enable()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    print(f"pid {os.getpid()}, seed {options.seed}")
    if options.what == "replay":
        replay(options.paths)
        return 0
    report = run(
        options.what,
        frames=options.frames,
        seed=options.seed,
        folder=options.folder,
        breaking=options.breaking,
        verbose=True,
    )
    print(report, *report.growth, sep="\n")
    return 1 if report.growth else 0


if __name__ == "__main__":
    sys.exit(main())
