"""marimo's command line, of which `mpkernel run` is a part with options of its own."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any

from mpkernel.marimo_backend.seam import SERVER_NAMES, server

__all__ = [
    "command_line",
    "failure_of_url",
    "greet_with",
    "has_option",
    "notebooks_in",
    "options_of_run",
    "options_with_value",
]


def command_line() -> Any:
    """marimo's command line: a group of click."""
    return importlib.import_module("marimo._cli.cli").main


def failure_of_url() -> type[Exception]:
    """What marimo raises when it cannot fetch a notebook that is named by its URL."""
    raised: type[Exception] = importlib.import_module("marimo._utils.requests").RequestError
    return raised


def options_with_value() -> frozenset[str]:
    """The options of `marimo run` that a value follows."""
    options = [option for option in command_line().commands["run"].params if option.nargs == 1]
    return frozenset(
        name for one in options if not getattr(one, "is_flag", True) for name in one.opts
    )


def options_of_run() -> dict[str, str]:
    """The options of `marimo run`, each with what it does."""
    return {
        name: " ".join((getattr(option, "help", None) or "").split())
        for option in command_line().commands["run"].params
        if not getattr(option, "hidden", False)
        for name in (*option.opts, *option.secondary_opts)
        if name.startswith("-")
    }


def has_option(name: str) -> bool:
    """Whether `marimo run` takes an option of this name, even one that its help does not show."""
    params = command_line().commands["run"].params
    return name == "--help" or any(name in (*param.opts, *param.secondary_opts) for param in params)


def notebooks_in(paths: Sequence[str]) -> int:
    """How many notebooks `marimo run` of these files and folders would serve."""
    return len(server("_collect_marimo_files")(list(paths)).files)


def greet_with(greeting: Callable[[str, bool], None]) -> None:
    """Have the server of this process say `greeting(url, is_on_all_addresses)` when it starts, and
    nothing when it ends, instead of what marimo says."""

    def start(*, url: str, network: bool, **_: object) -> None:
        greeting(url, network)

    module: Any = importlib.import_module(SERVER_NAMES["print_startup"])
    module.print_startup = start
    module.print_shutdown = lambda: None
