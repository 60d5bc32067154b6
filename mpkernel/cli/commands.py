"""The commands by their names, each with what it does. Each is a module of this package.

A module's `run` takes the arguments that follow the command, and gives the exit code. Its `parser`,
if it has one, reads them with argparse; else its help is the text `USAGE`.
"""

from __future__ import annotations

import importlib
from types import ModuleType

__all__ = ["COMMANDS", "SERVE", "module_of"]

COMMANDS = {
    "run": "serve marimo notebooks, each in a process of its own",
    "exec": "run an app in a process of its own, in this terminal",
    "status": "show the running servers",
    "top": "show the running servers, and update this every second",
    "dashboard": "serve a page that shows the running servers, with curves and buttons",
    "crashes": "show why processes of apps died",
    "restart": "end an app's process; its sessions come back",
    "drain": "let an app's new sessions start on a fresh process",
    "stop": "stop a server",
    "sessions": "list or remove the sessions that are stored on the disk",
    "sandbox": "list or remove the environments that --sandbox has made",
    "doctor": "check this machine for what mpkernel needs",
    "settings": "show each setting and where it comes from",
    "metrics": "print a Grafana dashboard for the metrics of servers",
    "systemd": "print a systemd unit that runs a server",
    "completion": "print a script that completes these commands in a shell",
    "docs": "show the documentation",
    "bench": "measure mpkernel beside ZeroMQ and others",
}

SERVE = ("run", "exec", "dashboard")
"""These commands do more than write to standard output: they go on when nobody reads it."""


def module_of(command: str) -> ModuleType:
    """The module of a command."""
    return importlib.import_module(f"mpkernel.cli.{command}")
