"""`mpkernel top`: `mpkernel status`, again and again, in the terminal."""

from __future__ import annotations

import argparse
import os
import select
import shutil
import signal
import sys
import termios
import tty
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from mpkernel.cli import status
from mpkernel.server.operations.finding import published_servers

__all__ = ["run"]

_ALTERNATE, _ORDINARY = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
_HOME, _LINE_END, _BELOW = "\x1b[H", "\x1b[K", "\x1b[J"


def run(arguments: Sequence[str]) -> int:
    """Show the servers until q or Ctrl-C; where standard output is not a terminal, once.

    Args:
        arguments: what follows `mpkernel top`.
    """
    parser = argparse.ArgumentParser(
        prog="mpkernel top", description="Show the servers of this user; q or Ctrl-C ends."
    )
    parser.add_argument("--interval", type=float, default=1.0, metavar="S", help="default 1")
    parser.add_argument("--sessions", action="store_true", help="each session too")
    given = parser.parse_args(arguments)
    if given.interval <= 0:
        parser.error("--interval must be over 0")
    if not sys.stdout.isatty():
        return status.run(["--sessions"] if given.sessions else [])
    try:
        with _screen():
            while True:
                _show(with_sessions=given.sessions)
                if _is_quit_typed(given.interval):
                    return 0
    except KeyboardInterrupt:
        return 0


@contextmanager
def _screen() -> Iterator[None]:
    """Use the terminal's alternate screen and read single keys; restore the terminal at the end,
    also when SIGTERM ends the command."""
    before = termios.tcgetattr(sys.stdin) if sys.stdin.isatty() else None
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    sys.stdout.write(_ALTERNATE)
    try:
        if before is not None:
            tty.setcbreak(sys.stdin)
        yield
    finally:
        if before is not None:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
        sys.stdout.write(_ORDINARY)
        sys.stdout.flush()


def _show(*, with_sessions: bool) -> None:
    width, height = shutil.get_terminal_size()
    lines = status.report(published_servers(), with_sessions=with_sessions)
    lines = (lines or ["no server of this user runs, or keeps a snapshot"])[: height - 1]
    shown = "".join(f"{line[: width - 1]}{_LINE_END}\r\n" for line in lines)
    sys.stdout.write(f"{_HOME}{shown}{_BELOW}")
    sys.stdout.flush()


def _is_quit_typed(within_s: float) -> bool:
    if not sys.stdin.isatty():
        select.select([], [], [], within_s)
        return False
    ready, _, _ = select.select([sys.stdin], [], [], within_s)
    if not ready:
        return False
    typed = os.read(sys.stdin.fileno(), 1024)
    return not typed or b"q" in typed
