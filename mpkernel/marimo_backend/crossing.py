"""What the server's journal and an app's process say to each other of elements and their values.

The journal wraps what it sends to a session that comes back in `RestoredValue`, `RestoredModel` and
`Click`; what becomes of these is `restoring`'s. `WidgetShown` goes the other way.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

__all__ = ["WIDGET_SHOWN", "Click", "RestoredModel", "RestoredValue", "WidgetShown"]


class RestoredValue(NamedTuple):
    """What an element was set to."""

    value: Any


class RestoredModel(NamedTuple):
    """What the model of an element's widget was set to.

    Attributes:
        state: traits and their values.
        buffers: the bytes in it, by their path.
    """

    state: dict[str, Any]
    buffers: dict[tuple[str | int, ...], bytes]


class Click(NamedTuple):
    """What an element was set to, if it is a button."""

    value: Any


class WidgetShown(msgspec.Struct, tag_field="op", tag="mpkernel-widget", frozen=True):
    """Up to the journal, as JSON among the kernel's messages: which element shows which model.
    A model's id is another in each process, an element's is not."""

    model_id: str
    object_id: str


WIDGET_SHOWN = b'{"op":"mpkernel-widget"'
"""How that begins."""
