"""Restoring a session, in the host: which element gets which value.

The server's journal knows the ids and values of elements, but not their kinds. It wraps values for
a session that is restored in the types of `crossing`. Here, where the elements are made, it is
decided what is done with each:

    RestoredValue  becomes an initial value. Not of a button (its action would run again), not of an
                   element that is made of others (each of these has its own), and not if it does
                   not fit. The server is told of a button whose click is undone
    RestoredModel  becomes the state of an element's widget
    Click          a value whose command had not begun. It goes to a button alone; any other element
                   already has it as its initial value
"""

from __future__ import annotations

import dataclasses
import logging
import threading
from collections.abc import Callable
from typing import Any

import msgspec

from mpkernel.host.hosted_kernel import HostedKernel
from mpkernel.marimo_backend import seam
from mpkernel.marimo_backend.crossing import (
    Click,
    ClickUndone,
    RestoredModel,
    RestoredValue,
    WidgetShown,
)

__all__ = ["bind_thread", "restore_elements"]

logger = logging.getLogger(__name__)

_bound = threading.local()


def restore_elements() -> None:
    """Have the elements of all kernels of this process take the values that are restored."""
    seam.wrap_initial_values(_initial_value)
    seam.wrap_resolve_lens(_resolve_lens)


def bind_thread(kernel: HostedKernel) -> None:
    """Have the kernel that starts on the calling thread tell the server which widgets it shows, and
    which buttons have undone clicks."""
    _bound.kernel = kernel


def _initial_value(ask: Callable[[Any, str], Any], context: Any, object_id: str) -> Any:
    """Called instead of marimo's own function: the initial value of the element that is made.

    Raises:
        KeyError: the element starts with its own value.
    """
    element = context.ui_element_registry.get_object(object_id)
    if isinstance(element, seam.host("anywidget")):
        _tell_of_widget(element, object_id)
    value = _asked(ask, context, object_id)
    match value:
        case RestoredValue():
            if value.is_undone and _is_button(element):
                _tell(ClickUndone(object_id))
            return _restored(context, element, object_id, value.value)
        case RestoredModel():
            _restore_model(element, object_id, value)
            raise KeyError(object_id)
    return value


def _asked(ask: Callable[[Any, str], Any], context: Any, object_id: str) -> Any:
    """The value that was set. Those for elements of an embedded app came with the notebook around
    it."""
    while True:
        try:
            return ask(context, object_id)
        except KeyError:
            if context.parent is None:
                raise
            context = context.parent


def _restored(context: Any, element: Any, object_id: str, value: Any) -> Any:
    if _is_button(element) or _is_composite(element) or _has_model(element):
        raise KeyError(object_id)
    if value == "" and getattr(element, "_masked", False):
        raise KeyError(object_id)  # a password: the page does not know it, and sends an empty text
    # A form asks for the value of the element in it, which marimo forbids while the cell runs.
    running = context.execution_context
    context.execution_context = dataclasses.replace(running, setting_element_value=True)
    try:
        converted = element._convert_value(value)
    except Exception:  # the element has changed: it starts with its own value
        logger.warning(
            "the value of a UI element was not restored object=%s", object_id, exc_info=True
        )
        raise KeyError(object_id) from None
    finally:
        context.execution_context = running

    def convert_once(_: Any) -> Any:
        del element.__dict__["_convert_value"]
        return converted

    element.__dict__["_convert_value"] = convert_once
    return value


def _restore_model(element: Any, object_id: str, model: RestoredModel) -> None:
    if not _has_model(element):
        return
    content = {
        "method": "update",
        "state": model.state,
        "buffer_paths": [list(path) for path in model.buffers],
    }
    try:
        message = {"content": {"data": content}, "buffers": list(model.buffers.values())}
        element.widget.comm.handle_msg(message)
        element.widget.send_state(list(model.state))  # the page has the model's first state
    except Exception:  # the widget has changed: it starts with its own state
        logger.warning("the state of a widget was not restored object=%s", object_id, exc_info=True)


def _resolve_lens(
    resolve: Callable[[Any, str, Any], Any], registry: Any, object_id: str, value: Any
) -> Any:
    """Called instead of marimo's own function: the element to which a value of the page goes.

    Raises:
        KeyError: there is no such element.
    """
    if not isinstance(value, Click):
        return resolve(registry, object_id, value)
    resolved = resolve(registry, object_id, value.value)
    if not _is_button(registry.get_object(object_id)):
        raise KeyError(object_id)
    return resolved


def _tell_of_widget(element: Any, object_id: str) -> None:
    model_id = getattr(element.widget, "_model_id", None)
    if model_id:
        _tell(WidgetShown(model_id, object_id))


def _tell(message: WidgetShown | ClickUndone) -> None:
    kernel: HostedKernel | None = getattr(_bound, "kernel", None)
    if kernel is not None:
        kernel.send(msgspec.json.encode(message))


def _is_button(element: Any) -> bool:
    return isinstance(element, (seam.host("button"), seam.host("run_button")))


def _is_composite(element: Any) -> bool:
    return isinstance(element, (seam.host("array"), seam.host("_batch_base")))


def _has_model(element: Any) -> bool:
    return isinstance(element, seam.host("anywidget"))
