"""`mpkernel completion SHELL`: a script that completes the commands of mpkernel in a shell."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from mpkernel.cli.commands import COMMANDS, module_of
from mpkernel.cli.docs import pages
from mpkernel.cli.parsers import CommandParser, options_of, orders_of
from mpkernel.configuration.names import flag_of
from mpkernel.configuration.values import kind_of
from mpkernel.errors import UnsupportedMarimo
from mpkernel.settings import Settings

__all__ = ["parser", "run"]

_WITH_SETTINGS = ("run", "settings", "systemd")
_OPTION = re.compile(r"^  (?P<name>--[a-z-]+)(?: [A-Z]+)? {2,}(?P<does>\S.*)$", re.MULTILINE)


_FILES = {
    "bash": ("~/.local/share/bash-completion/completions/mpkernel", ""),
    "zsh": ("~/.zfunc/_mpkernel", ", with ~/.zfunc in fpath"),
    "fish": ("~/.config/fish/completions/mpkernel.fish", ""),
}


class _Words(NamedTuple):
    """What may follow a command, each word with what it means.

    Attributes:
        options: begin with "-".
        orders: other words; where there are any, paths are not completed.
    """

    options: Mapping[str, str]
    orders: Mapping[str, str]


def parser() -> CommandParser:
    """Of what follows `mpkernel completion`."""
    made = CommandParser(
        prog="mpkernel completion",
        description="Print a script that completes the commands of mpkernel, their options and the"
        " paths that they take, in a shell.",
        examples={
            f"mpkernel completion {shell} > {file}": f"where {shell} looks for it{note}"
            for shell, (file, note) in _FILES.items()
        },
    )
    made.add_argument("shell", choices=_SCRIPTS, metavar="SHELL", help=", ".join(_SCRIPTS))
    return made


def run(arguments: Sequence[str]) -> int:
    """Print the script; give the exit code.

    Args:
        arguments: what follows `mpkernel completion`.
    """
    shell = parser().parse_args(arguments).shell
    words = {command: _words_after(command) for command in COMMANDS}
    print("\n".join(_SCRIPTS[shell](words)))
    return os.EX_OK


def _words_after(command: str) -> _Words:
    module = module_of(command)
    options = {"--help": "show what it does, with examples"}
    orders: dict[str, str] = {}
    if hasattr(module, "parser"):
        reader = module.parser()
        options |= options_of(reader)
        for name, order in orders_of(reader).items():
            orders[name] = ""
            options |= options_of(order)
    elif hasattr(module, "USAGE"):
        options |= {found["name"]: found["does"] for found in _OPTION.finditer(module.USAGE)}
    if command == "run":
        options |= _marimos_options()
    if command in _WITH_SETTINGS:
        options |= {flag_of(name): f"takes {kind_of(name)}" for name in Settings.__struct_fields__}
    if command == "docs":
        orders = pages()
    elif command == "completion":
        orders = dict.fromkeys(_SCRIPTS, "")
    return _Words(options, orders)


def _marimos_options() -> dict[str, str]:
    from mpkernel.marimo_backend.command_line import options_of_run
    from mpkernel.marimo_backend.versions import check_marimo

    try:
        check_marimo()
    except UnsupportedMarimo:
        return {}
    return options_of_run()


def _for_bash(words: Mapping[str, _Words]) -> Iterator[str]:
    yield "_mpkernel() {"
    yield "  local word=${COMP_WORDS[COMP_CWORD]} options='' orders=''"
    yield "  if ((COMP_CWORD == 1)); then"
    yield f'    COMPREPLY=($(compgen -W {shlex.quote(" ".join(words))} -- "$word"))'
    yield "    return"
    yield "  fi"
    yield "  case ${COMP_WORDS[1]} in"
    for command, (options, orders) in words.items():
        sets = f"options={shlex.quote(' '.join(options))} orders={shlex.quote(' '.join(orders))}"
        yield f"    {command}) {sets} ;;"
    yield "  esac"
    yield "  if [[ $word == -* ]]; then"
    yield '    COMPREPLY=($(compgen -W "$options" -- "$word"))'
    yield "  elif [[ $orders ]]; then"
    yield '    COMPREPLY=($(compgen -W "$orders" -- "$word"))'
    yield "  else"
    yield "    local IFS=$'\\n'"
    yield "    compopt -o filenames 2>/dev/null"
    yield '    COMPREPLY=($(compgen -f -- "$word"))'
    yield "  fi"
    yield "}"
    yield "complete -F _mpkernel mpkernel"


def _for_zsh(words: Mapping[str, _Words]) -> Iterator[str]:
    yield "#compdef mpkernel"
    yield "_mpkernel() {"
    yield "  local -a choices"
    yield "  if ((CURRENT == 2)); then"
    yield f"    choices=({_described(COMMANDS)})"
    yield "    _describe command choices"
    yield "    return"
    yield "  fi"
    yield "  case $words[2] in"
    for command, (options, orders) in words.items():
        yield f"    {command})"
        yield "      if [[ $words[CURRENT] == -* ]]; then"
        yield f"        choices=({_described(options)})"
        yield "        _describe option choices"
        yield "      else"
        if orders:
            yield f"        choices=({_described(orders)})"
            yield "        _describe word choices"
        else:
            yield "        _files"
        yield "      fi ;;"
    yield "  esac"
    yield "}"
    # zsh runs the file when it completes for the first time; `source` and `eval` run it before.
    yield 'if [[ $funcstack[1] == _mpkernel ]]; then _mpkernel "$@"'
    yield "else compdef _mpkernel mpkernel; fi"


def _for_fish(words: Mapping[str, _Words]) -> Iterator[str]:
    yield "complete -c mpkernel -f -n __fish_use_subcommand"
    for command, does in COMMANDS.items():
        what = f"-a {command} -d {_fish(does)}"
        yield f"complete -c mpkernel -n __fish_use_subcommand {what}"
    for command, (options, orders) in words.items():
        after = f"complete -c mpkernel -n '__fish_seen_subcommand_from {command}'"
        for option, does in options.items():
            kind = "-l" if option.startswith("--") else "-s"
            yield f"{after} {kind} {option.lstrip('-')} -d {_fish(does)}"
        for order, does in orders.items():
            yield f"{after} -f -a {order} -d {_fish(does)}"


def _described(words: Mapping[str, str]) -> str:
    """Words for zsh's `_describe`: each with its meaning after a colon."""
    return " ".join(shlex.quote(f"{word}:{does}" if does else word) for word, does in words.items())


def _fish(text: str) -> str:
    """A text as a word for fish, where a backslash escapes within single quotes."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


_SCRIPTS: dict[str, Callable[[Mapping[str, _Words]], Iterator[str]]] = {
    "bash": _for_bash,
    "zsh": _for_zsh,
    "fish": _for_fish,
}
