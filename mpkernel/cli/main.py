"""The `mpkernel` command: picks the subcommand, turns errors into one line and an exit code."""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
from collections.abc import Sequence

from mpkernel.errors import MPKernelError
from mpkernel.version import __version__

__all__ = ["main"]

_COMMANDS = {
    "run": "serve marimo notebooks, each in a process of its own (mpkernel run --help)",
    "exec": "run an app in a process of its own, in this terminal (mpkernel exec --help)",
    "status": "show the servers that run (mpkernel status --help)",
    "top": "show the servers that run, again and again (mpkernel top --help)",
    "restart": "end an app's process; its sessions come back (mpkernel restart --help)",
    "drain": "give an app's new sessions a fresh process (mpkernel drain --help)",
    "stop": "stop a server (mpkernel stop --help)",
    "sessions": "the sessions that are stored on the disk (mpkernel sessions --help)",
    "crashes": "show the reports of app processes that died (mpkernel crashes --help)",
    "sandbox": "the environments that --sandbox has made for apps (mpkernel sandbox --help)",
    "doctor": "check this machine for what mpkernel needs (mpkernel doctor --help)",
    "settings": "show each setting and where it comes from (mpkernel settings --help)",
    "systemd": "print a unit for systemd (mpkernel systemd --help)",
    "docs": "show the documentation (mpkernel docs --help)",
    "bench": "measure mpkernel beside ZeroMQ and others (mpkernel bench --help)",
}
"""Each a module of this package, whose `run` takes the arguments that follow."""

_SERVE = ("run", "exec")
"""These commands do more than write to standard output: they go on when nobody reads it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; give the exit code.

    Exit codes: 0 all went well, 1 it could not be done, 2 the command line is wrong; `exec` ends
    as its app does, and `doctor` gives 0, 1 or 2 by its worst line.

    Args:
        arguments: what follows the program's name. Default: `sys.argv`.
    """
    parser = argparse.ArgumentParser(
        prog="mpkernel", description="A process per notebook app, a kernel thread per client."
    )
    parser.add_argument("--version", action="version", version=f"mpkernel {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, does in _COMMANDS.items():
        commands.add_parser(name, add_help=False, help=does)
    given = list(sys.argv[1:] if arguments is None else arguments)
    command = parser.parse_args(given[:1]).command
    try:
        code = int(importlib.import_module(f"mpkernel.cli.{command}").run(given[1:]))
        if command not in _SERVE:
            sys.stdout.flush()  # an error at the interpreter's end could not be reported
    except MPKernelError as error:
        print(f"mpkernel: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        if command in _SERVE:
            raise
        # The reader has ended, as `head` does: the rest of the output is dropped.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    return code
