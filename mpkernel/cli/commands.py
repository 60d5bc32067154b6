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
    "status": "show the servers that run",
    "top": "show the servers that run, again and again",
    "dashboard": "serve a page that shows the servers that run, with curves and buttons",
    "crashes": "show the reports of app processes that died",
    "restart": "end an app's process; its sessions come back",
    "drain": "give an app's new sessions a fresh process",
    "stop": "stop a server",
    "sessions": "the sessions that are stored on the disk",
    "sandbox": "the environments that --sandbox has made for apps",
    "doctor": "check this machine for what mpkernel needs",
    "settings": "show each setting and where it comes from",
    "metrics": "print a dashboard of Grafana for the metrics of servers",
    "systemd": "print a unit for systemd",
    "completion": "print what completes these commands in a shell",
    "docs": "show the documentation",
    "bench": "measure mpkernel beside ZeroMQ and others",
}

SERVE = ("run", "exec", "dashboard")
"""These commands do more than write to standard output: they go on when nobody reads it."""


def module_of(command: str) -> ModuleType:
    """The module of a command."""
    return importlib.import_module(f"mpkernel.cli.{command}")
