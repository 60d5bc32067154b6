"""What is watched while a target runs: its log, and whether it hangs."""

from __future__ import annotations

import faulthandler
import gc
import hashlib
import logging
import os
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from tests.fuzz.inputs import encode_input

__all__ = ["FOUND", "HangWatch", "WatchedLog", "keep", "usage"]

FOUND = Path(__file__).parent / "found"
"""Inputs that failed once: `<target>-<hash>.bin`."""

_HANG_S = 60.0
_HANG_WITH_THE_GIL_S = 120.0


def keep(target: str, pieces: Sequence[tuple[int, bytes]], folder: Path) -> Path:
    """Write an input down."""
    data = encode_input(pieces)
    path = folder / f"{target}-{hashlib.sha256(data).hexdigest()[:12]}.bin"
    path.write_bytes(data)
    return path


def usage() -> tuple[int, int, int]:
    """Resident memory in bytes, threads, open descriptors."""
    gc.collect()
    process = psutil.Process()
    return process.memory_info().rss, threading.active_count(), process.num_fds()


class WatchedLog(logging.Handler):
    """Formats what is logged, drops it, and remembers errors: what is logged as one is one."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._fault: str | None = None
        logging.getLogger().addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        if record.levelno >= logging.ERROR:
            self._fault = text

    def raise_fault(self) -> None:
        """Raise what was logged as an error, if anything was."""
        fault, self._fault = self._fault, None
        if fault is not None:
            raise AssertionError(f"logged as an error: {fault}")

    def close(self) -> None:
        logging.getLogger().removeHandler(self)
        super().close()


class HangWatch:
    """Ends the process when one input takes a minute: the input is kept, and every thread's stack
    printed. A hang that holds the GIL is seen after two minutes, by its stack alone.

    Args:
        target: its name.
        folder: where inputs are kept.
    """

    def __init__(self, target: str, folder: Path) -> None:
        self._target = target
        self._folder = folder
        self._pieces: Sequence[tuple[int, bytes]] = ()
        self._since = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hang-watch", daemon=True)
        self._thread.start()

    def begin(self, pieces: Sequence[tuple[int, bytes]]) -> None:
        """Say that an input begins."""
        self._pieces, self._since = pieces, time.monotonic()

    def close(self) -> None:
        """Watch no more."""
        self._over.set()
        self._thread.join()
        faulthandler.cancel_dump_traceback_later()

    def _run(self) -> None:
        while not self._over.wait(1.0):
            faulthandler.dump_traceback_later(_HANG_WITH_THE_GIL_S, exit=True)
            if time.monotonic() - self._since > _HANG_S:
                path = keep(self._target, self._pieces, self._folder)
                print(f"an input hangs, kept as {path}", file=sys.stderr, flush=True)
                faulthandler.dump_traceback()
                os._exit(2)
