"""`CommandParser`: argparse's parser, with examples in its help and suggestions in its errors."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from mpkernel.cli.screen import screen
from mpkernel.cli.tables import columns

__all__ = [
    "CommandParser",
    "examples_in_lines",
    "options_of",
    "orders_of",
    "similar",
    "some_text",
]

_QUOTED = re.compile(r"invalid choice: '([^']*)'")


class CommandParser(argparse.ArgumentParser):
    """Reads what follows a command.

    Args:
        examples: command lines, and what each does; shown at the end of the help.
    """

    def __init__(
        self, *args: Any, examples: Mapping[str, str] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._examples = examples or {}

    def format_help(self) -> str:
        """argparse's help, and the examples."""
        return super().format_help() + examples_in_lines(self._examples)

    def error(self, message: str) -> NoReturn:
        """End with exit code 2, and say what was probably meant."""
        super().error(message + _suggestion(message, self))


def examples_in_lines(examples: Mapping[str, str]) -> str:
    """The end of a help text: command lines, and what each does; nothing without examples."""
    if not examples:
        return ""
    lines = columns(list(examples.items()), flexible={1}, screen=screen().without(2))
    return "\nexamples:\n" + "".join(f"  {line}\n" for line in lines)


def some_text(text: str) -> str:
    """For `type` of an argument that may not be empty. A shell gives an empty one for a variable
    that is not set.

    Raises:
        argparse.ArgumentTypeError: it is empty.
    """
    if not text:
        raise argparse.ArgumentTypeError("it is empty (a shell variable that is not set?)")
    return text


def similar(word: str, known: Iterable[str]) -> str:
    """What was probably meant by a word, as the end of a sentence; empty if nothing is similar."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f": did you mean {close[0]}?" if close else ""


def orders_of(parser: argparse.ArgumentParser) -> Mapping[str, argparse.ArgumentParser]:
    """The parsers of a command's orders, as `sessions list`, by their names."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def options_of(parser: argparse.ArgumentParser) -> dict[str, str]:
    """A parser's options, each with what it does."""
    return {
        option: (action.help or "").replace("%(default)s", str(action.default))
        for action in parser._actions
        for option in action.option_strings
    }


def _suggestion(message: str, parser: argparse.ArgumentParser) -> str:
    orders = orders_of(parser)
    if wrong := _QUOTED.search(message):
        return similar(wrong[1], orders)
    options = list(options_of(parser))
    for order in orders.values():
        options += options_of(order)
    for word in message.split():
        name = word.partition("=")[0].rstrip(":")
        if name.startswith("--") and name not in options:
            return similar(name, options)
    return ""
