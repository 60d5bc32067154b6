"""`mpkernel top`: `mpkernel status`, again and again, in the terminal."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from mpkernel.cli import status
from mpkernel.cli.keys import Keyboard
from mpkernel.cli.output import as_json
from mpkernel.cli.parsers import CommandParser
from mpkernel.cli.screen import Screen, can_be_redrawn, screen
from mpkernel.cli.server_table import ORDERS, View, report
from mpkernel.cli.tables import cut
from mpkernel.server.operations.finding import published_servers

__all__ = ["parser", "run"]

_ALTERNATE, _ORDINARY = b"\x1b[?1049h\x1b[?25l", b"\x1b[?25h\x1b[?1049l"
_HOME, _LINE_END, _BELOW = "\x1b[H", "\x1b[K", "\x1b[J"

_LONGEST_S = 86_400.0

_ORDER_KEYS = {
    "t": "trouble",
    "m": "memory",
    "c": "cpu",
    "s": "sessions",
    "d": "deaths",
    "n": "name",
}
_STEPS = {"up": -1, "k": -1, "down": 1, "j": 1}
_KEYS = f"q ends · ↑↓ scroll · / filters · v sessions · {' '.join(_ORDER_KEYS)} sort: by "


def parser() -> CommandParser:
    """Of what follows `mpkernel top`."""
    made = CommandParser(
        prog="mpkernel top",
        description="Show the servers of this user, and update this every second. Keys: q or Ctrl-C"
        " ends, Ctrl-Z suspends it until fg; the"
        " arrows, Page Up, Page Down, Home and End scroll; t sorts by trouble, m by memory, c by"
        " CPU, s by sessions, d by deaths, n by name; / filters by app, state or process id (Enter"
        " keeps the filter, Escape removes it); v shows each session. Where standard output is no"
        " terminal, or one with TERM=dumb, the servers are shown once.",
        examples={
            "mpkernel top": "until q is typed",
            "mpkernel top --sort memory --filter sales": "the largest first, of these apps alone",
            "mpkernel top --json --interval 10": "for programs: a line of JSON every ten seconds",
        },
    )
    made.add_argument("--interval", type=float, default=1.0, metavar="S", help="seconds; default 1")
    made.add_argument("--sessions", action="store_true", help="each session too")
    made.add_argument(
        "--sort", choices=ORDERS, default="trouble", help="what comes first; default: %(default)s"
    )
    made.add_argument(
        "--filter", default="", metavar="TEXT", help="only what has this in its path or state"
    )
    made.add_argument("--json", action="store_true", help="for programs: one line per interval")
    return made


def run(arguments: Sequence[str]) -> int:
    """Show the servers until q or Ctrl-C; where standard output cannot be drawn anew, once.

    Args:
        arguments: what follows `mpkernel top`.
    """
    reader = parser()
    given = reader.parse_args(arguments)
    if not 0 < given.interval <= _LONGEST_S:
        reader.error("--interval must be over 0, and at most a day")
    view = View(given.sort, given.filter, given.sessions)
    try:
        if given.json:
            return _print_json(given.interval)
        if not can_be_redrawn():
            return status.show_once(view)
        with _screen(), Keyboard.open(_leave_screen, _enter_screen) as keyboard:
            return _Top(view, keyboard).run(given.interval)
    except KeyboardInterrupt:
        return 0


def _print_json(interval_s: float) -> int:
    while True:
        servers = status.public(published_servers())
        print(as_json("top", on_one_line=True, servers=servers), flush=True)
        time.sleep(interval_s)


@contextmanager
def _screen() -> Iterator[None]:
    """Use the terminal's alternate screen; restore it at the end, also when SIGTERM ends the
    command."""
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    _enter_screen()
    try:
        yield
    finally:
        sys.stdout.flush()
        _leave_screen()


# Signal handlers call these, where `sys.stdout` may be in the middle of writing.
def _enter_screen() -> None:
    os.write(sys.stdout.fileno(), _ALTERNATE)


def _leave_screen() -> None:
    os.write(sys.stdout.fileno(), _ORDINARY)


class _Top:
    """The servers on the whole terminal, and what the user has chosen of them.

    Attributes:
        view: what is shown.
        first: which line is the topmost.
        is_filtering: whether keys go into the filter.
    """

    def __init__(self, view: View, keyboard: Keyboard) -> None:
        self.view = view
        self.first = 0
        self.is_filtering = False
        self._keyboard = keyboard
        self._page = 1

    def run(self, interval_s: float) -> int:
        """Show them until q is typed, or the terminal is gone; give the exit code."""
        while True:
            self._show()
            typed = self._keyboard.keys(interval_s)
            if typed is None:
                return 0
            for key in typed:
                if self.is_filtering:
                    self._edit(key)
                elif key == "q":
                    return 0
                else:
                    self._obey(key)

    def _show(self) -> None:
        height = shutil.get_terminal_size().lines
        to = screen().without(1)  # some terminals go to the next line after the last column
        lines = report(published_servers(), self.view, to) or [status.NO_SERVER]
        self._page = max(1, height - 1)
        self.first = max(0, min(self.first, len(lines) - self._page))
        shown = lines[self.first : self.first + self._page]
        if height > 1:
            shown += [""] * (self._page - len(shown)) + [self._last_line(len(lines), to)]
        text = "\r\n".join(f"{line}{_LINE_END}" for line in shown)
        sys.stdout.write(f"{_HOME}{text}{_BELOW}")
        sys.stdout.flush()

    def _last_line(self, lines: int, to: Screen) -> str:
        """What is typed, or which keys there are."""
        width = to.width or sys.maxsize
        if self.is_filtering:
            return cut(f"filter: {self.view.words}▏ Enter keeps it, Escape removes it", width)
        last = min(lines, self.first + self._page)
        facts = f"{self.first + 1} to {last} of {lines} · " if lines > self._page else ""
        only = f"only {self.view.words} · " if self.view.words else ""
        return to.paint(cut(f"{only}{facts}{_KEYS}{self.view.order}", width), "quiet")

    def _edit(self, key: str) -> None:
        words = self.view.words
        if key == "enter":
            self.is_filtering = False
        elif key == "escape":
            self.is_filtering, words = False, ""
        elif key == "backspace":
            words = words[:-1]
        elif key.isprintable() and len(key) == 1:
            words += key
        self.first = 0
        self.view = self.view._replace(words=words)

    def _obey(self, key: str) -> None:
        if key in _ORDER_KEYS:
            self.view = self.view._replace(order=_ORDER_KEYS[key])
        elif key == "v":
            self.view = self.view._replace(with_sessions=not self.view.with_sessions)
        elif key == "/":
            self.is_filtering = True
        elif key == "escape":
            self.view = self.view._replace(words="")
        elif key in _STEPS:
            self.first += _STEPS[key]
        elif key in ("page up", "b"):
            self.first -= self._page
        elif key in ("page down", " "):
            self.first += self._page
        elif key in ("home", "g"):
            self.first = 0
        elif key in ("end", "G"):
            self.first = sys.maxsize
