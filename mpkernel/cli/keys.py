"""`Keyboard`: single keys that are typed into the terminal of a command."""

from __future__ import annotations

import codecs
import os
import re
import select
import signal
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Self

__all__ = ["Keyboard"]

_KEY = re.compile(r"\x1b(?:\[|O)[0-9;]*[A-Za-z~]|.", re.DOTALL)
_NAMES = {
    **{f"\x1b[{code}": name for code, name in (("A", "up"), ("B", "down"))},
    **{f"\x1bO{code}": name for code, name in (("A", "up"), ("B", "down"))},
    "\x1b[5~": "page up",
    "\x1b[6~": "page down",
    "\x1b[H": "home",
    "\x1b[1~": "home",
    "\x1bOH": "home",
    "\x1b[F": "end",
    "\x1b[4~": "end",
    "\x1bOF": "end",
    "\x1b": "escape",
    "\r": "enter",
    "\n": "enter",
    "\x7f": "backspace",
    "\x08": "backspace",
}


class Keyboard:
    """The keys of standard input, as long as the block that opened it runs.

    A change of the terminal's size ends a wait, too, and so does `fg` after Ctrl-Z. Where standard
    input is no terminal, no key comes.
    """

    def __init__(self, resized: int) -> None:
        self._resized = resized
        self._is_there = sys.stdin.isatty()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    @classmethod
    @contextmanager
    def open(cls, leave: Callable[[], None], enter: Callable[[], None]) -> Iterator[Self]:
        """Read single keys, without echo; the terminal is as before at the end, and while Ctrl-Z
        has stopped the command.

        Args:
            leave: called before the command stops.
            enter: called when it goes on.
        """
        before = termios.tcgetattr(sys.stdin) if sys.stdin.isatty() else None

        def take() -> None:
            if before is not None:
                tty.setcbreak(sys.stdin)

        def give_back() -> None:
            if before is not None:
                termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)

        def stop() -> None:
            leave()
            give_back()

        def go_on() -> None:
            take()
            enter()

        resized, resize = os.pipe()
        os.set_blocking(resize, False)
        earlier = signal.signal(signal.SIGWINCH, lambda *_: None)
        wakeup = signal.set_wakeup_fd(resize, warn_on_full_buffer=False)
        try:
            take()
            with _stoppable(stop, go_on):
                yield cls(resized)
        finally:
            signal.set_wakeup_fd(wakeup)
            signal.signal(signal.SIGWINCH, earlier)
            os.close(resized)
            os.close(resize)
            give_back()

    def keys(self, within_s: float) -> list[str] | None:
        """The keys that are typed now, or next within that time: characters, or names as "page up".

        None if the terminal is gone.
        """
        watched = [self._resized, *([sys.stdin.fileno()] if self._is_there else [])]
        ready, _, _ = select.select(watched, [], [], within_s)
        if self._resized in ready:
            os.read(self._resized, 1024)
        if not self._is_there or sys.stdin.fileno() not in ready:
            return []
        typed = os.read(sys.stdin.fileno(), 1024)
        if not typed:
            return None
        return [_NAMES.get(key, key) for key in _KEY.findall(self._decoder.decode(typed))]


@contextmanager
def _stoppable(leave: Callable[[], None], enter: Callable[[], None]) -> Iterator[None]:
    """In this block Ctrl-Z stops the command as the shell expects, with the terminal as it was.

    Args:
        leave: called before the command stops.
        enter: called when it goes on.
    """

    def stop(number: int, _: object) -> None:
        leave()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)  # it stops here, until somebody sends SIGCONT
        signal.signal(number, stop)
        enter()

    earlier = signal.getsignal(signal.SIGTSTP)
    if earlier is signal.SIG_IGN:  # whoever started the command wants it not to stop
        yield
        return
    signal.signal(signal.SIGTSTP, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTSTP, earlier)
