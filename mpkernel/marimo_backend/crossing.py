"""What the server's journal and an app's process send each other about elements and their values.

When a session is restored, the journal wraps values in `RestoredValue`, `RestoredModel` and
`Click`; `restoring` decides what is done with each. `WidgetShown` and `ClickUndone` go the other
way.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

__all__ = [
    "CLICK_UNDONE",
    "LASTING_PREFIX",
    "WIDGET_SHOWN",
    "Click",
    "ClickUndone",
    "RestoredModel",
    "RestoredValue",
    "WidgetShown",
]

LASTING_PREFIX = "6d706b65-"
"""How the names of cells of embedded apps begin that are the same in each process."""


class RestoredValue(NamedTuple):
    """What an element was set to.

    Attributes:
        value: what the page sent.
        is_undone: whether the server ended before the kernel was known to have done the command.
    """

    value: Any
    is_undone: bool = False


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


class ClickUndone(msgspec.Struct, tag_field="op", tag="mpkernel-click-undone", frozen=True):
    """Sent to the session, as JSON among the kernel's messages: an element whose value is undone
    (see `RestoredValue`) is a button, and its action does not run."""

    object_id: str


CLICK_UNDONE = b'{"op":"mpkernel-click-undone"'
"""How the JSON of `ClickUndone` begins."""
