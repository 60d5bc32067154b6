"""Progress bars and spinners: any number of updates, few messages.

    update(), from any thread ─▶ _Meter ─▶ Progress, at most 10 a second ─┬▶ the cell's client
                                                                          └▶ the terminal

The terminal is for code outside of any session. An update that comes too early is owed: the next
one that is due has it in it, and if none comes a timer sends it.
"""

from __future__ import annotations

import itertools
import logging
import math
import operator
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, Self, TypeVar, cast, overload

from mpkernel.kernel.context import current_place
from mpkernel.kernel.messages import Progress
from mpkernel.kernel.shown.display import encodable
from mpkernel.kernel.shown.terminal import terminal

__all__ = ["ProgressBar", "Spinner", "progress_bar", "spinner"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

_INTERVAL_S = 0.1
_LOOPED_OVER_BY = ("__iter__", "__getitem__")


@overload
def progress_bar(
    iterable: Iterable[T],
    *,
    total: int | None = None,
    title: str = "",
    subtitle: str = "",
    completion_title: str | None = None,
    completion_subtitle: str | None = None,
    show_rate: bool = True,
    show_eta: bool = True,
    clock: Callable[[], float] = time.monotonic,
) -> ProgressBar[T]: ...


@overload
def progress_bar(
    iterable: None = None,
    *,
    total: int,
    title: str = "",
    subtitle: str = "",
    completion_title: str | None = None,
    completion_subtitle: str | None = None,
    show_rate: bool = True,
    show_eta: bool = True,
    clock: Callable[[], float] = time.monotonic,
) -> ProgressBar[int]: ...


def progress_bar(
    iterable: Iterable[T] | None = None,
    *,
    total: int | None = None,
    title: str = "",
    subtitle: str = "",
    completion_title: str | None = None,
    completion_subtitle: str | None = None,
    show_rate: bool = True,
    show_eta: bool = True,
    clock: Callable[[], float] = time.monotonic,
) -> ProgressBar[T] | ProgressBar[int]:
    """Show how far a loop is, or work that says so itself.

        for item in progress_bar(items): ...

        with progress_bar(total=100) as bar:
            bar.update()

    Args:
        iterable: what to loop over, once.
        total: how many there will be. Default: the iterable's length; without one only the count
            is shown.
        title, subtitle: what to write at the bar.
        completion_title, completion_subtitle: what to write there once all is done, which it is
            not after an exception or a `break`. Default: nothing else.
        show_rate: whether to say how many are done a second.
        show_eta: whether to say how many seconds it will still take.
        clock: seconds, for tests.

    Raises:
        TypeError: there is neither an iterable nor a total, or what is given is none.
        ValueError: the total is negative.
    """
    options = _Options(completion_title, completion_subtitle, show_rate, show_eta)
    if iterable is not None:
        return ProgressBar(
            iterable, _checked_total(iterable, total), title, subtitle, options, clock
        )
    if total is None:
        raise TypeError("progress_bar() needs something to loop over, or total= for how many")
    return ProgressBar[int](None, _checked_total(None, total), title, subtitle, options, clock)


def spinner(
    title: str = "",
    subtitle: str = "",
    remove_on_exit: bool = True,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> Spinner:
    """Show that something goes on whose length nobody knows.

        with spinner("Loading") as loading:
            loading.update(subtitle="from disk")

    Args:
        title, subtitle: what to write at it.
        remove_on_exit: whether it goes away in the end: its last message has neither title nor
            subtitle.
        clock: seconds, for tests.
    """
    return Spinner(title, subtitle, remove_on_exit, clock)


def _checked_total(iterable: Iterable[object] | None, total: int | None) -> int | None:
    if iterable is not None and not any(hasattr(iterable, name) for name in _LOOPED_OVER_BY):
        hint = f"; did you mean total={iterable!r}?" if isinstance(iterable, int) else ""
        raise TypeError(f"progress_bar() cannot loop over a {type(iterable).__name__}{hint}")
    if total is None:
        return None if iterable is None else _length_of(iterable)
    total = operator.index(total)
    if total < 0:
        raise ValueError(f"the total of a progress bar is negative: {total}")
    return total


def _length_of(iterable: Iterable[object]) -> int | None:
    try:
        return len(cast(Sized, iterable))
    except TypeError:  # also of those that have a __len__, and cannot always tell
        return None


@dataclass(frozen=True)
class _Options:
    """How a bar ends, and what it says."""

    completion_title: str | None
    completion_subtitle: str | None
    show_rate: bool
    show_eta: bool


class _Meter:
    """What is counted and written, and who is told of it when. For any thread.

    It begins with its first change, and after its end nothing changes and nobody is told.
    """

    _total: int | None = None
    _show_rate = False
    _show_eta = False

    def __init__(self, title: str, subtitle: str, clock: Callable[[], float]) -> None:
        place = current_place()
        self._id = f"progress-{next(_numbers)}"
        self._cell = place.cell if place is not None else ""
        self._tell = place.send if place is not None else terminal()
        self._clock = clock
        self._lock = threading.RLock()  # guards all that follows
        self._title = encodable(str(title))
        self._subtitle = encodable(str(subtitle))
        self._current = 0
        self._began_s: float | None = None
        self._done = False
        self._owed = False
        self._telling = False
        self._due_s = -math.inf
        self._timer: threading.Timer | None = None
        _living.add(self)

    def _change(self, count: int, title: str | None, subtitle: str | None) -> None:
        with self._lock:
            if self._done:
                return
            self._current += count
            self._write(title, subtitle)
            self._began_s = self._clock() if self._began_s is None else self._began_s
            self._owed = True
            self._tell_what_is_due()

    def _end(self, title: str | None, subtitle: str | None) -> None:
        with self._lock:
            if self._done:
                return
            self._done = True
            self._write(title, subtitle)
            if self._timer is not None:
                self._timer.cancel()
            self._owed = self._began_s is not None
            self._tell_what_is_due()

    def _write(self, title: str | None, subtitle: str | None) -> None:
        if title is not None:
            self._title = encodable(str(title))
        if subtitle is not None:
            self._subtitle = encodable(str(subtitle))

    def _tell_what_is_due(self) -> None:
        # On the thread that is telling, a __del__ can come in here: the loop below sees to it.
        if self._telling or self._tell is None:
            return
        self._telling = True
        try:
            while self._owed and (self._done or self._clock() >= self._due_s):
                self._owed = False
                self._due_s = self._clock() + _INTERVAL_S
                self._tell(self._progress())
        finally:
            self._telling = False
        if self._owed and self._timer is None:
            self._tell_later()

    def _tell_later(self) -> None:
        timer = threading.Timer(max(0.0, self._due_s - self._clock()), self._tell_what_is_owed)
        timer.daemon = True
        try:
            timer.start()
        except RuntimeError as error:  # out of threads; the next step tries again
            logger.debug("%s is told later: %s", self._id, error)
            return
        self._timer = timer

    def _tell_what_is_owed(self) -> None:
        with self._lock:
            self._timer = None
            try:
                self._tell_what_is_due()
            except OSError as gone:  # the server is gone, and the host about to leave
                logger.debug("nobody to tell of %s: %s", self._id, gone)

    def _progress(self) -> Progress:
        now_s = self._clock()
        elapsed_s = now_s - (now_s if self._began_s is None else self._began_s)
        rate_per_s = self._current / elapsed_s if self._current and elapsed_s > 0 else None
        eta_s = None
        if self._total is not None and rate_per_s is not None and not self._done:
            eta_s = max(0, self._total - self._current) / rate_per_s
        return Progress(
            id=self._id,
            cell=self._cell,
            title=self._title,
            subtitle=self._subtitle,
            current=self._current,
            total=self._total,
            rate_per_s=rate_per_s if self._show_rate else None,
            eta_s=eta_s if self._show_eta else None,
            elapsed_s=elapsed_s,
            done=self._done,
        )


class ProgressBar(_Meter, Generic[T]):
    """A loop or a `with` block that shows how far it is; see `progress_bar`."""

    def __init__(
        self,
        iterable: Iterable[T] | None,
        total: int | None,
        title: str,
        subtitle: str,
        options: _Options,
        clock: Callable[[], float],
    ) -> None:
        super().__init__(title, subtitle, clock)
        self._iterable = iterable
        self._total = total
        self._show_rate = options.show_rate
        self._show_eta = options.show_eta
        self._options = options
        self._is_iterated = False

    def update(
        self, increment: int = 1, title: str | None = None, subtitle: str | None = None
    ) -> None:
        """Count `increment` more, and write these from now on. After the bar's end it does nothing:
        a thread may be late.

        Raises:
            TypeError: the increment is no integer.
            ValueError: the increment is negative.
        """
        count = operator.index(increment)
        if count < 0:
            raise ValueError(f"a progress bar only goes forward, not by {count}")
        self._change(count, title, subtitle)

    def close(self) -> None:
        """End the bar where it is. Leaving the loop or the `with` block does so too."""
        self._end(None, None)

    def __iter__(self) -> Iterator[T]:
        if self._iterable is None:
            raise TypeError(
                "this progress bar has a total and nothing to loop over"
                " (use it in a with statement, and call update)"
            )
        return self._items(self._iterable)

    def __enter__(self) -> Self:
        self.update(0)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            self._complete()
        self.close()

    def _items(self, iterable: Iterable[T]) -> Iterator[T]:
        with self._lock:
            if self._is_iterated or self._done:
                raise RuntimeError("this progress bar was used already (make one for each loop)")
            self._is_iterated = True
        try:
            self.update(0)
            for item in iterable:
                yield item
                self.update()
            self._complete()
        finally:
            self.close()

    def _complete(self) -> None:
        self._end(self._options.completion_title, self._options.completion_subtitle)


class Spinner(_Meter):
    """A `with` block that shows that it goes on; see `spinner`."""

    def __init__(
        self, title: str, subtitle: str, remove_on_exit: bool, clock: Callable[[], float]
    ) -> None:
        super().__init__(title, subtitle, clock)
        self._remove_on_exit = remove_on_exit

    def update(self, title: str | None = None, subtitle: str | None = None) -> None:
        """Write these from now on. After the spinner's end it does nothing."""
        self._change(0, title, subtitle)

    def close(self) -> None:
        """End the spinner. Leaving the `with` block does so too."""
        left = "" if self._remove_on_exit else None
        self._end(left, left)

    def __enter__(self) -> Self:
        self.update()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


_numbers = itertools.count(1)
_living: weakref.WeakSet[_Meter] = weakref.WeakSet()


def _renew_locks() -> None:
    """In a fork, a lock may be held by a thread that is not there."""
    for meter in list(_living):
        meter._lock = threading.RLock()
        meter._telling = False
        meter._timer = None


os.register_at_fork(after_in_child=_renew_locks)
