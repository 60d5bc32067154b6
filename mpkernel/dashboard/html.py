"""Tables, facts and texts of the pages. All text of apps and servers goes through `text`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape

from mpkernel.amounts import age, memory

__all__ = [
    "count_of",
    "duration",
    "facts",
    "link",
    "of_limit",
    "percent",
    "rate",
    "section",
    "size",
    "state",
    "table",
    "text",
]

_GOOD = ("ready",)
_BAD = ("failed", "stopped", "leaving")
_QUIET = ("idle",)


def text(value: object) -> str:
    """Any text, so that it is shown as it is."""
    return escape(str(value))


def link(url: str, label: str) -> str:
    """A link with a text."""
    return f'<a href="{text(url)}">{text(label)}</a>'


def section(title: str, body: str, *, name: str) -> str:
    """A part of a page with a heading.

    Args:
        title: HTML.
        body: HTML.
        name: a word that no other section of the page has.
    """
    return f'<section aria-labelledby="mpk-{name}"><h2 id="mpk-{name}">{title}</h2>{body}</section>'


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, about: str) -> str:
    """A table. On a narrow page each row becomes a card, in which each cell has its head.

    Args:
        heads: of the columns.
        rows: each with as many cells of HTML; the first one names the row.
        about: what it shows, for screen readers.
    """
    head = "".join(f'<th scope="col" role="columnheader">{text(one)}</th>' for one in heads)
    body = "".join(_row(heads, row) for row in rows)
    # The roles are said since `display: block`, which cards need, takes them away.
    return (
        f'<table role="table" aria-label="{text(about)}"><thead role="rowgroup"><tr role="row">'
        f'{head}</tr></thead><tbody role="rowgroup">{body}</tbody></table>'
    )


def _row(heads: Sequence[str], cells: Sequence[str]) -> str:
    first, *others = cells
    return (
        f'<tr role="row"><th scope="row" role="rowheader">{first}</th>'
        + "".join(
            f'<td role="cell" data-head="{text(head)}"><span>{cell}</span></td>'
            for head, cell in zip(heads[1:], others, strict=True)
        )
        + "</tr>"
    )


def facts(known: Iterable[tuple[str, str]]) -> str:
    """Facts, each with its name.

    Args:
        known: names, and HTML.
    """
    items = "".join(f"<div><dt>{text(name)}</dt><dd>{value}</dd></div>" for name, value in known)
    return f'<dl class="facts">{items}</dl>'


def state(word: str) -> str:
    """A state, in the color of what it means."""
    kind = "good" if word in _GOOD else "bad" if word in _BAD else "other"
    return f'<span class="state {"quiet" if word in _QUIET else kind}">{text(word)}</span>'


def size(value: float | None) -> str:
    """Bytes as people read them."""
    return memory(value)


def percent(value: float | None) -> str:
    """A share of a processor."""
    return "-" if value is None or math.isnan(value) else f"{value:.0%}"


def rate(value: float) -> str:
    """How often per second."""
    return f"{value:.3g}/s"


def count_of(value: float) -> str:
    """A number of things."""
    return f"{value:.0f}"


def duration(seconds: float) -> str:
    """A latency, or a longer span of time."""
    if seconds >= 10:
        return age(seconds)
    return f"{seconds * 1000:.3g} ms" if seconds < 1 else f"{seconds:.2g} s"


def of_limit(value: str, limit: str | None, *, unlimited: str = "") -> str:
    """A value, and what it may be.

    Args:
        value: as people read it.
        limit: likewise; None if there is none.
        unlimited: what is said in that case.
    """
    if limit is None:
        return f"{text(value)} <small>{text(unlimited)}</small>" if unlimited else text(value)
    return f"{text(value)} <small>of {text(limit)}</small>"
