"""What the server's journal and an app's process send each other about elements and their values.

When a session is restored, the journal wraps values in `RestoredValue`, `RestoredModel` and
`Click`; `restoring` decides what is done with each. `WidgetShown` goes the other way.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

__all__ = [
    "LASTING_PREFIX",
    "WIDGET_SHOWN",
    "Click",
    "RestoredModel",
    "RestoredValue",
    "WidgetShown",
]

LASTING_PREFIX = "6d706b65-"
"""How the names of cells of embedded apps begin that are the same in each process."""


class RestoredValue(NamedTuple):
    """What an element was set to."""

    value: Any


class RestoredModel(NamedTuple):
    """What the model of an element's widget was set to.

    Attributes:
        state: traits and their values.
        buffers: the bytes in the state, by their path.
    """

    state: dict[str, Any]
    buffers: dict[tuple[str | int, ...], bytes]


class Click(NamedTuple):
    """A value that counts only if the element is a button."""

    value: Any


class WidgetShown(msgspec.Struct, tag_field="op", tag="mpkernel-widget", frozen=True):
    """Sent to the journal, as JSON among the kernel's messages: which element shows which model.
    The id of a model is different in each process; the id of an element is not."""

    model_id: str
    object_id: str


WIDGET_SHOWN = b'{"op":"mpkernel-widget"'
"""How the JSON of `WidgetShown` begins."""
