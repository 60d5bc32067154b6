"""`input` and `getpass` in a session's code: they ask the session's client."""

from __future__ import annotations

import builtins
import functools
import getpass
from collections.abc import Callable
from typing import Any

from mpkernel.builtins_like import builtin_like
from mpkernel.kernel.cell_run import CellRun

__all__ = ["install_input"]


def install_input(find: Callable[[], CellRun | None]) -> None:
    """Have `input` and `getpass.getpass` ask the client of the calling thread's session. Once.

    Args:
        find: gives the calling thread's run of a cell. Where it gives None there is no client to
            ask, and Python's own function is called.
    """
    plain_input, plain_getpass = builtins.input, getpass.getpass

    def asked_input(*args: Any, **options: Any) -> str:
        cell_run = find()
        if cell_run is None or options or len(args) > 1:
            return plain_input(*args, **options)
        prompt = str(args[0]) if args else ""
        return cell_run.session.ask(prompt, secret=False, cell=cell_run.cell)

    @functools.wraps(plain_getpass)
    def asked_getpass(*args: Any, **options: Any) -> str:
        cell_run = find()
        if cell_run is None:
            return plain_getpass(*args, **options)
        import inspect  # imported here: slow to load, and seldom needed

        try:
            given = inspect.signature(plain_getpass).bind(*args, **options)
        except TypeError:
            return plain_getpass(*args, **options)  # the original raises its own error
        given.apply_defaults()
        return cell_run.session.ask(given.arguments["prompt"], secret=True, cell=cell_run.cell)

    builtins.input = builtin_like(plain_input, asked_input)
    for name in ("getpass", plain_getpass.__name__):  # pickle looks it up by one name or the other
        setattr(getpass, name, asked_getpass)
