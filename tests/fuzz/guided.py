"""Fuzzing that looks which code an input reaches, and goes on from those that reach more.

    pip install 'mpkernel[fuzz]'
    python -m tests.fuzz.guided server --seconds 3600
    python -m tests.fuzz.guided host --seconds 3600

What it finds it writes to `tests/fuzz/found`, and goes on; its exit code is 1 then. The search is
libFuzzer's, by `atheris`.
"""

from __future__ import annotations

import argparse
import collections
import importlib
import os
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path
from random import Random
from typing import Any

import atheris

with atheris.instrument_imports(include=["mpkernel", "shm"]):
    from tests.fuzz import campaign, watching

    importlib.import_module("mpkernel.host.storage")  # loaded with a host's first file else

from tests.fuzz.inputs import decode_input, encode_input, frames_in

__all__ = ["main"]

_SEEDS = 300
_MOST_BYTES = 16 * 1024
_REPORT_EVERY_S = 60.0


class _Search:
    """The functions that libFuzzer calls, and their counts.

    Args:
        target_name: "server" or "host".
        seconds: for how long.
        seed: of the mutations that are ours.
        folder: where libFuzzer keeps what it found worth while.
    """

    def __init__(self, target_name: str, seconds: float, seed: int, folder: Path) -> None:
        self._folder = folder
        self._target_name = target_name
        self._random = Random(seed)
        self._mutator = campaign.mutator_for(target_name, self._random, breaking=0.1)
        self._target: campaign.Target = campaign.TARGETS[target_name]()
        self._log = watching.WatchedLog()
        self._hang_watch = watching.HangWatch(target_name, watching.FOUND)
        self._found: collections.Counter[str] = collections.Counter()
        self._inputs = 0
        self._began = self._reported = time.monotonic()
        self._seconds = seconds

    def seeds(self) -> None:
        """Write the inputs that it begins with."""
        folder = self._folder
        for number in range(_SEEDS):
            pieces = self._mutator.input().pieces
            (folder / str(number)).write_bytes(encode_input(pieces)[:_MOST_BYTES])
        for path in watching.FOUND.glob(f"{self._target_name}-*.bin"):
            (folder / path.name).write_bytes(path.read_bytes())

    def take(self, data: bytes) -> None:
        """Called by libFuzzer: feed one input."""
        now = time.monotonic()
        if now - self._reported > _REPORT_EVERY_S or now - self._began > self._seconds:
            self._reported = now
            self._report()
        if now - self._began > self._seconds:
            shutil.rmtree(self._folder)  # libFuzzer leaves without Python's own end
            os._exit(1 if self._found else 0)
        pieces = _pieces_of(data)
        self._inputs += 1
        self._hang_watch.begin(pieces)
        try:
            self._target.run(pieces)
            self._log.raise_fault()
        except Exception as error:  # noqa: BLE001 (what it is for)
            self._note(error, pieces)

    def mutated(self, data: bytes, max_size: int, seed: int) -> bytes:
        """libFuzzer's: another input, made of one that it found worth while."""
        random = self._random
        random.seed(seed)
        pieces = _pieces_of(data)
        for _ in range(random.choice((1, 1, 2, 5))):
            self._change(pieces)
        mutated = encode_input(pieces)
        return mutated if len(mutated) <= max_size else self._fresh(max_size)

    def _change(self, pieces: list[tuple[int, bytes]]) -> None:
        random = self._random
        kind = random.randrange(6)
        if not pieces or kind == 0:
            fresh = self._mutator.input().pieces
            begin = random.randrange(len(fresh))
            at = random.randrange(len(pieces) + 1)
            pieces[at:at] = fresh[begin : begin + 3]
            return
        at = random.randrange(len(pieces))
        pipe, data = pieces[at]
        match kind:
            case 1:
                del pieces[at]
            case 2:
                pieces.insert(random.randrange(len(pieces)), pieces[at])
            case 3:
                pieces[at] = (pipe, atheris.Mutate(data, len(data) + 64) if data else b"\0")
            case _:
                pieces[at] = (pipe, self._with_another_frame(data))

    def _with_another_frame(self, data: bytes) -> bytes:
        """A payload is changed, and its frame stays one."""
        frames = frames_in(data)
        if not frames:
            return data
        at = self._random.randrange(len(frames))
        head, payload = frames[at]
        payload = atheris.Mutate(payload, len(payload) + 64) if payload else b"\0"
        frames[at] = (head, payload)
        return b"".join(
            (len(payload) + 5).to_bytes(4, "big") + head + payload for head, payload in frames
        )

    def _fresh(self, max_size: int) -> bytes:
        pieces = self._mutator.input().pieces
        while len(encoded := encode_input(pieces)) > max_size:
            pieces = pieces[: len(pieces) // 2]
        return encoded

    def _note(self, error: Exception, pieces: list[tuple[int, bytes]]) -> None:
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{type(error).__name__} in {Path(last.filename).name}:{last.name}"
        self._found[where] += 1
        if self._found[where] == 1:
            path = watching.keep(self._target_name, pieces, watching.FOUND)
            print(f"FOUND {where}, kept as {path}", flush=True)
            traceback.print_exception(error)

    def _report(self) -> None:
        print(
            f"{self._target_name}: {self._inputs:,} inputs in"
            f" {time.monotonic() - self._began:.0f} s, {watching.usage()} (RSS, threads,"
            f" descriptors), found: {dict(self._found) or 'nothing'}",
            flush=True,
        )


def _pieces_of(data: bytes) -> list[tuple[int, bytes]]:
    try:
        return [(pipe % 3, piece) for pipe, piece in decode_input(data)]
    except Exception:  # noqa: BLE001 (libFuzzer's own changes make anything: bytes of one read)
        return [(0, data)]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("target", choices=list(campaign.TARGETS))
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        search = _Search(options.target, options.seconds, options.seed, Path(name))
        search.seeds()
        arguments: list[Any] = [
            sys.argv[0],
            name,
            f"-seed={options.seed}",
            f"-max_len={_MOST_BYTES}",
            "-timeout=1000000",  # `HangWatch` knows more
            f"-artifact_prefix={name}/",
            "-rss_limit_mb=0",
            "-len_control=0",
        ]
        atheris.Setup(arguments, search.take, custom_mutator=search.mutated)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
