"""`get_logger`: makes a logger whose records say which app, session and process they are about.

    logger.info("host started", app=path, pid=pid)

is logged as "host started app=… pid=…". The record has the attributes `app` and `pid`, for the
handlers and formatters of programs that embed mpkernel; see `json_lines`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

__all__ = ["ABOUT", "AboutLogger", "get_logger", "tail_of"]

ABOUT = ("app", "session", "pid", "worker")
"""The names of what a record can be about, and of its attributes."""


def get_logger(name: str) -> AboutLogger:
    """The logger of this name, as `logging.getLogger` gives it, with what records are about.

    Args:
        name: a module's.
    """
    return AboutLogger(logging.getLogger(name), {})


class AboutLogger(logging.LoggerAdapter[logging.Logger]):
    """Takes four more arguments with each call: `app`, the absolute path of an app's file;
    `session`, the name of a session; `pid`, the id of an app's process; `worker`, the address of
    the cluster's worker where that runs. One that is None is left out."""

    def log(self, level: int, msg: object, *args: object, **options: Any) -> None:
        if not self.isEnabledFor(level):
            return
        about = {name: options.pop(name, None) for name in ABOUT}
        known = {name: value for name, value in about.items() if value is not None}
        tail = "".join(f" {name}=%s" for name in known)
        frames = options.pop("stacklevel", 1) + 1  # the record names our caller, not this function
        text = f"{msg}{tail}"
        self.logger.log(
            level, text, *args, *known.values(), extra=known, stacklevel=frames, **options
        )


def tail_of(attributes: Mapping[str, Any]) -> str:
    """The end of a message that says what a record with these attributes is about."""
    return "".join(f" {name}={attributes[name]}" for name in ABOUT if name in attributes)
