"""Progress bars and spinners, which user code makes. How often one is sent is in `shown.meter`."""

from __future__ import annotations

import operator
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, Self, TypeVar, cast, overload

from mpkernel.kernel.shown.meter import Meter

__all__ = ["ProgressBar", "Spinner", "progress_bar", "spinner"]

T = TypeVar("T")

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
    """Show how far a loop is, or other work that calls `update`.

        for item in progress_bar(items): ...

        with progress_bar(total=100) as bar:
            bar.update()

    Args:
        iterable: what to loop over, once.
        total: how many steps there will be. Default: the length of the iterable; if it has none,
            only the count is shown.
        title, subtitle: the texts to show with the bar.
        completion_title, completion_subtitle: the texts to show once all is done, but not after
            an exception or a `break`. Default: the texts do not change.
        show_rate: whether to show how many steps are done in a second.
        show_eta: whether to show how many seconds it will still take.
        clock: gives seconds; for tests.

    Raises:
        TypeError: there is neither an iterable nor a total, or one of them is of a wrong type.
        ValueError: the total is negative.
    """
    options = _Options(completion_title, completion_subtitle, show_rate, show_eta)
    if iterable is not None:
        return ProgressBar(
            iterable, _checked_total(iterable, total), title, subtitle, options, clock
        )
    if total is None:
        raise TypeError(
            "progress_bar() needs something to loop over, or total= for the number of steps"
        )
    return ProgressBar[int](None, _checked_total(None, total), title, subtitle, options, clock)


def spinner(
    title: str = "",
    subtitle: str = "",
    remove_on_exit: bool = True,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> Spinner:
    """Show that some work goes on, when its length is not known.

        with spinner("Loading") as loading:
            loading.update(subtitle="from disk")

    Args:
        title, subtitle: the texts to show with the spinner.
        remove_on_exit: whether the spinner is removed at its end: its last message then has
            neither title nor subtitle.
        clock: gives seconds; for tests.
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
    except Exception:  # noqa: BLE001 (user code, which says so that the length is not known)
        return None


@dataclass(frozen=True)
class _Options:
    """What a bar shows, and what it shows at its end."""

    completion_title: str | None
    completion_subtitle: str | None
    show_rate: bool
    show_eta: bool


class ProgressBar(Meter, Generic[T]):
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
        """Count `increment` more, and show these texts from now on. After the end of the bar this
        does nothing, since a thread may be late.

        Raises:
            TypeError: the increment is not an integer.
            ValueError: the increment is negative.
        """
        count = operator.index(increment)
        if count < 0:
            raise ValueError(f"a progress bar only goes forward, not by {count}")
        self._change(count, title, subtitle)

    def close(self) -> None:
        """End the bar where it is. The end of the loop or of the `with` block does the same."""
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


class Spinner(Meter):
    """A `with` block that shows that its work goes on; see `spinner`."""

    def __init__(
        self, title: str, subtitle: str, remove_on_exit: bool, clock: Callable[[], float]
    ) -> None:
        super().__init__(title, subtitle, clock)
        self._remove_on_exit = remove_on_exit

    def update(self, title: str | None = None, subtitle: str | None = None) -> None:
        """Show these texts from now on. After the end of the spinner this does nothing."""
        self._change(0, title, subtitle)

    def close(self) -> None:
        """End the spinner. The end of the `with` block does the same."""
        left = "" if self._remove_on_exit else None
        self._end(left, left)

    def __enter__(self) -> Self:
        self.update()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
