"""`late_logger`: a logger that loads `logging` when something is logged.

App hosts use it: few of them ever log, and `logging` would be a tenth of a bare host's start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from logging import Logger

__all__ = ["late_logger"]


def late_logger(name: str) -> Logger:
    """The logger of this name.

    Args:
        name: a module's.
    """
    return cast("Logger", _LateLogger(name))


class _LateLogger:
    """Has the attributes of the logger, looked up anew each time: so records name the caller."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        import logging

        return getattr(logging.getLogger(self._name), attribute)
