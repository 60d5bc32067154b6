"""A traceback of a `PermissionError` says that the app is confined, and which settings that are."""

from __future__ import annotations

import traceback
from types import TracebackType
from typing import Any

__all__ = ["explain_refusals"]


def explain_refusals(level: str) -> None:
    """Have this process's tracebacks say it, as a note (PEP 678). Call it once.

    Args:
        level: how the app is confined.
    """
    help_line = (
        f"mpkernel: this app is confined (confine={level}); what it needs more is named with"
        " confine_read, confine_write and confine_connect"
    )
    original = traceback.TracebackException.__init__

    def with_help(
        self: traceback.TracebackException,
        exc_type: type[BaseException],
        exc_value: BaseException,
        exc_traceback: TracebackType | None,
        **options: Any,
    ) -> None:
        original(self, exc_type, exc_value, exc_traceback, **options)
        if isinstance(exc_value, PermissionError):
            self.__notes__ = [*(self.__notes__ or ()), help_line]

    traceback.TracebackException.__init__ = with_help  # type: ignore[method-assign]
