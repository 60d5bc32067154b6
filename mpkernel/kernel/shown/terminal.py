"""Progress and outputs of an app that has no client, but may have a terminal."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import TextIO

from mpkernel.kernel.messages import Figure, Message, Progress
from mpkernel.kernel.shown.display import text_figure_of
from mpkernel.kernel.shown.output_list import CellOutputList
from mpkernel.late_logger import late_logger
from mpkernel.text_width import beginning

__all__ = ["TerminalPlace", "progress_line", "terminal"]

logger = late_logger(__name__)

_BAR_COLUMNS = 24
_COLUMNS = 80
_ERASE_LINE = "\r\x1b[K"


def progress_line(progress: Progress, columns: int) -> str:
    """A message as one line of a terminal; an empty line for a spinner that is removed."""
    parts = [progress.title, *_numbers_of(progress), progress.subtitle]
    line = "  ".join(part for part in parts if part)
    return beginning("".join(c if c.isprintable() else " " for c in line), columns)


def terminal() -> Callable[[Progress], None] | None:
    """What draws progress outside of a session; None where there is no terminal, or one that
    cannot draw a line anew."""
    stream = sys.stderr
    try:
        is_terminal = stream is not None and stream.isatty()
    except (AttributeError, ValueError):  # an object of the user's without this method; closed
        return None
    return _Terminal(stream) if is_terminal and os.environ.get("TERM") != "dumb" else None


class TerminalPlace:
    """The place of an app that is its process's main program; see `context.Place`. What the
    app shows is printed once, as text; what it removes stays printed.

    Attributes:
        cell: its name.
        outputs: what it shows.
        over: never set.
    """

    def __init__(self, cell: str) -> None:
        self.cell = cell
        self.over = threading.Event()
        self._printed: list[Figure] = []
        self.outputs = CellOutputList(self._print_new, text_figure_of)

    def send(self, message: Message) -> None:
        """Draw progress."""
        draw = terminal()
        if draw is not None and isinstance(message, Progress):
            draw(message)

    def _print_new(self, figures: list[Figure]) -> None:
        printed, self._printed = self._printed, figures
        for figure in figures:
            if not any(figure is one for one in printed):
                print(figure.data)


class _Terminal:
    """A line of a terminal that is drawn anew with every message."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __call__(self, progress: Progress) -> None:
        line = progress_line(progress, self._columns() - 1)
        end = "\n" if progress.done and line else ""
        try:
            self._stream.write(f"{_ERASE_LINE}{line}{end}")
            self._stream.flush()
        except (AttributeError, OSError, ValueError) as gone:  # no reason to end the loop
            logger.debug("the progress of %s cannot be drawn: %s", progress.id, gone)

    def _columns(self) -> int:
        with contextlib.suppress(AttributeError, OSError, ValueError):  # closed; no real terminal
            return os.get_terminal_size(self._stream.fileno()).columns or _COLUMNS
        return _COLUMNS


def _numbers_of(progress: Progress) -> Iterator[str]:
    current, total = progress.current, progress.total
    if total is not None:
        filled = _BAR_COLUMNS * min(current, total) // total if total else _BAR_COLUMNS
        yield f"[{'#' * filled}{'-' * (_BAR_COLUMNS - filled)}] {current}/{total}"
    elif current:
        yield str(current)
    if progress.rate_per_s is not None:
        yield f"{progress.rate_per_s:.3g}/s"
    if progress.eta_s is not None:
        yield f"eta {_duration(progress.eta_s)}"
    if progress.done and (total is not None or current):
        yield f"in {_duration(progress.elapsed_s)}"


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
