"""`format_loggers`: sets the format in which the loggers of marimo's server write their lines."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator

import uvicorn.config

__all__ = ["format_loggers"]

_CONSOLES = {"ext://sys.stdout": "ext://sys.__stdout__", "ext://sys.stderr": "ext://sys.__stderr__"}
"""The process's own streams, even if `sys.stdout` or `sys.stderr` is replaced later."""


def format_loggers(formatter: logging.Formatter) -> None:
    """Have every logger of this process that writes to its console use this formatter: those that
    exist, marimo's among them, and those that uvicorn will make."""
    for present in _handlers():
        if getattr(present, "stream", None) in (sys.__stdout__, sys.__stderr__):
            present.setFormatter(formatter)
    config = uvicorn.config.LOGGING_CONFIG
    for name in config["formatters"]:
        config["formatters"][name] = {"()": lambda: formatter}
    for handler in config["handlers"].values():
        handler["stream"] = _CONSOLES.get(handler["stream"], handler["stream"])


def _handlers() -> Iterator[logging.Handler]:
    yield from logging.getLogger().handlers
    for logger in logging.getLogger().manager.loggerDict.values():
        if isinstance(logger, logging.Logger):
            yield from logger.handlers
