"""How commands print: lines for people, with what to do next in the last one; JSON for programs."""

from __future__ import annotations

import sys
from collections.abc import Iterable

import msgspec

from mpkernel.cli.screen import screen
from mpkernel.cli.tables import wrapped

__all__ = ["as_json", "show", "show_nothing"]

_SHAPE = 1
"""Raised when a field of some command's JSON is renamed or removed, or means something else."""


def show(lines: Iterable[str], *, then: str = "") -> None:
    """Print lines, and in the last one what can be done next.

    Args:
        lines: made for `screen()`.
        then: what can be done; empty if there is nothing to do.
    """
    for line in lines:
        print(line)
    if then:
        to = screen()
        for line in wrapped(then, to, indent="  ", first="→ "):
            print(to.paint(line, "quiet"))


def show_nothing(why: str, *, then: str = "") -> None:
    """Say on standard error that there is nothing to show, and what can be done."""
    print(why if not then else f"{why}\n→ {then}", file=sys.stderr)


def as_json(command: str, *, on_one_line: bool = False, **content: object) -> str:
    """What a command shows, as a JSON object that says what it is.

    Args:
        command: whose output it is: "status", "sandbox list".
        on_one_line: else it is indented.
        content: the other fields. `mpkernel docs commands` describes them.
    """
    encoded = msgspec.json.encode({"command": command, "shape": _SHAPE, **content})
    return (encoded if on_one_line else msgspec.json.format(encoded)).decode()
