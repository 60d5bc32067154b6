"""The `mpkernel` command: picks the subcommand, turns errors into one line and an exit code."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Sequence

from mpkernel.cli.commands import COMMANDS, SERVE, module_of
from mpkernel.cli.parsers import examples_in_lines, similar
from mpkernel.cli.screen import screen
from mpkernel.cli.standard_streams import drop_output, is_full, open_closed_streams
from mpkernel.cli.tables import columns
from mpkernel.errors import MPKernelError
from mpkernel.quick_imports import quick_imports
from mpkernel.version import __version__

__all__ = ["main"]

_HELP = ("-h", "--help", "help")
_VERSION = ("-V", "--version")
_EXAMPLES = {
    "mpkernel run --examples": "see what it can do",
    "mpkernel run notebooks": "serve a folder of marimo notebooks",
    "mpkernel status": "see what runs",
    "mpkernel dashboard": "see it in a browser, with curves of the last hour",
    "mpkernel COMMAND --help": "all of a command, with examples",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; give the exit code.

    Exit codes: 0 all went well, 1 it could not be done, 2 the command line is wrong; `exec` ends
    as its app does, and `doctor` gives 0, 1 or 2 by its worst line.

    Args:
        arguments: what follows the program's name. Default: `sys.argv`.
    """
    open_closed_streams()
    _have_exit_statuses_kept()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # its encoding may lack a character of ours
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["help"] and len(given) > 1:
        given = [given[1], "--help"]
    try:
        code = _code_of(given)
        if given[:1] not in ([command] for command in SERVE):
            sys.stdout.flush()  # an error at the interpreter's end could not be reported
    except MPKernelError as error:
        print(f"mpkernel: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        # It is not caught: only then does Python end by the signal SIGINT, which the shell must
        # see.
        sys.excepthook = _show_nothing
        raise
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not _is_somewhere():
            print("mpkernel: the current folder was removed (change to another)", file=sys.stderr)
            return 1
        if given[:1] in ([command] for command in SERVE):
            raise
        if isinstance(error, BrokenPipeError):
            drop_output()  # its reader has ended, as `head` does
            return 128 + signal.SIGPIPE
        if is_full(error):
            drop_output()
            print(f"mpkernel: the output cannot be written: {error.strerror}", file=sys.stderr)
            return 1
        raise
    return code


def _code_of(given: Sequence[str]) -> int:
    if not given or given[0] in _HELP:
        print(_help(), end="")
        return os.EX_OK
    command, *rest = given
    if command in _VERSION:
        print(f"mpkernel {__version__}")
        return os.EX_OK
    if command in COMMANDS:
        with quick_imports():
            module = module_of(command)
        return int(module.run(rest))
    kind, known = "command", [*COMMANDS]
    if command.startswith("-"):
        kind, known = "option", ["--help", "--version"]
    meant = similar(command, known)
    if os.path.exists(command):
        meant = f": did you mean mpkernel run {command}?"
    print(f"mpkernel: there is no {kind} {command}{meant}", file=sys.stderr)
    print("→ mpkernel --help shows all commands", file=sys.stderr)
    return 2


def _have_exit_statuses_kept() -> None:
    """Have the system keep the exit status of each child until it is asked for. If the program that
    starts this one ignores SIGCHLD, as some daemons do, so does this one, and the system tells
    it of no child's end."""
    if signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def _is_somewhere() -> bool:
    """Whether this process has a current folder."""
    try:
        os.getcwd()
    except FileNotFoundError:
        return False
    return True


def _show_nothing(*_: object) -> None:
    """Print no traceback: the user who typed Ctrl-C knows why the command ends."""


def _help() -> str:
    lines = columns(list(COMMANDS.items()), flexible={1}, screen=screen().without(2))
    return (
        "usage: mpkernel COMMAND ...\n\nA process per notebook app, a kernel thread per client.\n\n"
        "commands:\n"
        + "".join(f"  {line}\n" for line in lines)
        + examples_in_lines(_EXAMPLES)
        + "\n→ mpkernel docs shows the documentation; mpkernel --version the version\n"
    )
