"""Leaves out a warning of marimo's that is not true.

For its gallery, marimo reads a title, a description and a picture from `[tool.marimo.opengraph]` in
a notebook's header. When it reads the same header for its configuration, in the server and in the
app's process, it warns each time that this section is ignored "for security reasons".
"""

from __future__ import annotations

import logging

__all__ = ["leave_out_false_warning"]

_WARNING = "tool.marimo.opengraph in script metadata is ignored"


def leave_out_false_warning() -> None:
    """Have marimo not log it in this process. Idempotent."""
    logging.getLogger("marimo").addFilter(_is_true)


def _is_true(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(_WARNING)
