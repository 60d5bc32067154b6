"""`KnownHistory`: the history of one server, put together from the parts that it has sent."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator
from typing import NamedTuple

from mpkernel.dashboard.charts import steps_to_show
from mpkernel.server.operations.history import KEPT_STEPS, Curve, HistoryPart, OrderRecord

__all__ = ["KnownCurve", "KnownHistory"]


class KnownCurve:
    """A curve of which all values of the last hour are known.

    Attributes:
        app, pid, started_at: see `Curve`.
        first: the number of the step of the first value.
        lines: the values by the name of what was measured.
    """

    def __init__(self, curve: Curve) -> None:
        self.app = curve.app
        self.pid = curve.pid
        self.started_at = curve.started_at
        self.first = curve.first
        self.lines: dict[str, array[float]] = {}

    @property
    def end(self) -> int:
        """The number of the step of the last value."""
        return self.first + max(map(len, self.lines.values()), default=0) - 1

    def values(self, name: str, last: int, count: int = KEPT_STEPS) -> list[float]:
        """The values of so many steps, the last of which is `last`; NaN where there is none."""
        begin = last + 1 - count
        known = self.lines.get(name, array("f"))[max(0, begin - self.first) :]
        before = max(0, self.first - begin)
        after = max(0, count - before - len(known))
        return [*[math.nan] * before, *known, *[math.nan] * after][:count]

    def extend(self, curve: Curve) -> None:
        """Take over values that are newer, or in place of those of the same steps."""
        for name, told in curve.lines.items():
            line = self.lines.setdefault(name, array("f"))
            at = max(0, curve.first - self.first)
            del line[at:]
            line.extend([math.nan] * (at - len(line)))
            line.frombytes(told)

    def shorten(self, last: int) -> None:
        """Forget what is older than an hour."""
        excess = last + 1 - KEPT_STEPS - self.first
        if excess > 0:
            for line in self.lines.values():
                del line[:excess]
            self.first += excess


class _Key(NamedTuple):
    app: str
    pid: int
    started_at: float


class KnownHistory:
    """The history of one server. It grows with each part that the server sends.

    Attributes:
        last: the number of the step that was not over when the last part was told; 0 before the
            first one. The next part must begin there.
        shown: how many steps the curves of a page show, all of them the same.
        orders: the latest orders that the server was given, the oldest first.
    """

    def __init__(self) -> None:
        self.last = 0
        self.shown = KEPT_STEPS
        self.orders: list[OrderRecord] = []
        self._curves: dict[_Key, KnownCurve] = {}

    def add(self, part: HistoryPart) -> None:
        """Take over what the server has told from the step `last` on.

        Raises:
            ValueError: this is not a valid history. Nothing is taken over.
        """
        _check(part)
        self.last, self.orders = part.last, part.orders
        for key, known in list(self._curves.items()):
            if known.end <= part.last - KEPT_STEPS:
                del self._curves[key]
            else:
                known.shorten(part.last)
        for curve in part.curves:
            key = _Key(curve.app, curve.pid, curve.started_at)
            if key not in self._curves:
                self._curves[key] = KnownCurve(curve)
            self._curves[key].extend(curve)
        if (whole := self.curve("")) is not None:
            self.shown = steps_to_show(whole.values("sessions", self.last))

    def values(self, curve: KnownCurve, name: str) -> list[float]:
        """The values of a curve for the steps that a page shows."""
        return curve.values(name, self.last, self.shown)

    def curve(self, app: str) -> KnownCurve | None:
        """The curve of all processes of an app; of the whole server for ""."""
        return self._curves.get(_Key(app, 0, 0.0))

    def processes(self, app: str) -> Iterator[KnownCurve]:
        """The curves of the processes that the app had in the last hour."""
        return (one for one in self._curves.values() if one.app == app and one.pid)


def _check(part: HistoryPart) -> None:
    """Check that the values are those of steps of the last hour: then they take little memory."""
    for curve in part.curves:
        steps = part.last + 1 - curve.first
        sizes = {len(told) for told in curve.lines.values()}
        if not 0 < steps <= KEPT_STEPS + 1 or any(size % 4 or size > 4 * steps for size in sizes):
            raise ValueError(
                f"a curve of {curve.app!r} has values of other steps than the last hour"
            )
