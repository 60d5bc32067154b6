"""`Exposition`: numbers as text that both OpenMetrics 1.0 and Prometheus' text format allow.

Source: the OpenMetrics specification, 1.0. Prometheus' own parser, which a node exporter's textfile
collector uses, knows neither `# UNIT` nor `# EOF` and takes them for comments; types that it does
not know (info, stateset), time stamps, exemplars and empty lines are not written. Of a counter it
sees the samples, named `…_total`, without their type.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Mapping
from typing import Literal, TypeAlias

from mpkernel.server.supervision.tallies import BOUNDS_S, Latencies

__all__ = ["Exposition", "Labels"]

Labels: TypeAlias = Mapping[str, str]

_BOUNDS = (*map(str, BOUNDS_S), "+Inf")
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


class Exposition:
    """Text that grows by one family of metrics after the other.

    Args:
        labels: what every sample has.
    """

    def __init__(self, labels: Labels) -> None:
        self._labels = labels
        self._lines: list[str] = []

    def gauges(
        self, name: str, what: str, samples: Iterable[tuple[Labels, float]], *, unit: str = ""
    ) -> None:
        """Numbers that go up and down.

        Args:
            name: of the family; where there is a unit, it ends with it.
            what: in a sentence, without quotes, backslashes and line ends.
            samples: for each its labels, which are no other's, and its value.
            unit: such as "seconds".
        """
        self._begin(name, "gauge", what, unit)
        for labels, value in samples:
            self._sample(name, labels, value)

    def counters(
        self, name: str, what: str, samples: Iterable[tuple[Labels, float]], *, unit: str = ""
    ) -> None:
        """Numbers that only grow; see `gauges`."""
        self._begin(name, "counter", what, unit)
        for labels, value in samples:
            self._sample(f"{name}_total", labels, value)

    def histograms(self, name: str, what: str, samples: Iterable[tuple[Labels, Latencies]]) -> None:
        """Durations, in seconds; see `gauges`."""
        self._begin(name, "histogram", what, "seconds")
        for labels, latencies in samples:
            together = self._together(labels)
            totals = [*itertools.accumulate(latencies.counts)]
            for bound, total in zip(_BOUNDS, totals, strict=True):
                self._lines.append(f'{name}_bucket{{{together},le="{bound}"}} {total}')
            self._lines.append(f"{name}_count{{{together}}} {totals[-1]}")
            self._lines.append(f"{name}_sum{{{together}}} {latencies.sum_s!r}")

    def text(self) -> str:
        """The whole."""
        return "\n".join([*self._lines, "# EOF\n"])

    def _begin(
        self, name: str, kind: Literal["gauge", "counter", "histogram"], what: str, unit: str
    ) -> None:
        self._lines.append(f"# TYPE {name} {kind}")
        if unit:
            self._lines.append(f"# UNIT {name} {unit}")
        self._lines.append(f"# HELP {name} {what}")

    def _sample(self, name: str, labels: Labels, value: float) -> None:
        self._lines.append(f"{name}{{{self._together(labels)}}} {value!r}")

    def _together(self, labels: Labels) -> str:
        pairs = {**self._labels, **labels}.items()
        return ",".join([f'{label}="{_escaped(text)}"' for label, text in pairs])


@functools.lru_cache(maxsize=1024)
def _escaped(text: str) -> str:
    """A label's value. What of a path is no UTF-8 is shown as Python would."""
    return text.encode("utf-8", "backslashreplace").decode().translate(_ESCAPES)
