"""`Exposition`: writes numbers as text that is valid both in OpenMetrics 1.0 and in Prometheus'
text format.

Source: the OpenMetrics specification, 1.0. The textfile collector of a node exporter uses
Prometheus' own parser. That parser takes `# UNIT` and `# EOF` for comments. It does not know some
types (info, stateset), time stamps, exemplars and empty lines; these are not written.

The two formats describe a counter by different names: OpenMetrics by that of its samples without
`_total`, Prometheus by the whole name. A text that follows one of them breaks a rule of the other.
So the type of a counter is not written. Both formats then read it as a number of unknown type with
a help text. Only the end of its name, `_total`, says that the number never falls.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Mapping
from typing import Literal, TypeAlias

from mpkernel.plain_text import encodable
from mpkernel.server.supervision.tallies import BOUNDS_S, Latencies

__all__ = ["Exposition", "Labels"]

Labels: TypeAlias = Mapping[str, str]

_BOUNDS = (*map(str, BOUNDS_S), "+Inf")
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


class Exposition:
    """The text, to which one family of metrics after the other is added.

    Args:
        labels: the labels that every sample has.
    """

    def __init__(self, labels: Labels) -> None:
        self._labels = labels
        self._lines: list[str] = []

    def gauges(
        self, name: str, what: str, samples: Iterable[tuple[Labels, float]], *, unit: str = ""
    ) -> None:
        """Numbers that go up and down.

        Args:
            name: the name of the family. If there is a unit, the name must end with it.
            what: what the numbers mean, in a sentence without quotes, backslashes and line ends.
            samples: the labels and the value of each. No two may have the same labels.
            unit: the unit, such as "seconds".
        """
        self._begin(name, "gauge", what, unit)
        for labels, value in samples:
            self._sample(name, labels, value)

    def counters(self, name: str, what: str, samples: Iterable[tuple[Labels, float]]) -> None:
        """Numbers that only grow; see `gauges`. Their names end with `_total`."""
        self._lines.append(f"# HELP {name}_total {what}")
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
        """The whole text."""
        return "\n".join([*self._lines, "# EOF\n"])

    def _begin(self, name: str, kind: Literal["gauge", "histogram"], what: str, unit: str) -> None:
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
    """A label's value. Bytes of a path that are not UTF-8 are written with backslashes, as Python
    does."""
    return encodable(text).translate(_ESCAPES)
