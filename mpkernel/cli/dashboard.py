"""`mpkernel dashboard [OPTIONS]`: the page for operators, served by `mpkernel run`.

Its own server keeps no snapshot: it is no part of what operators look at, and `mpkernel stop`
without a PID does not mean it.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence

from mpkernel.cli import run as serving
from mpkernel.cli.greeting import greet
from mpkernel.cli.parsers import CommandParser
from mpkernel.configuration.names import FILE_VARIABLE, variable_of
from mpkernel.dashboard.serving import NOTEBOOK
from mpkernel.errors import UnsupportedMarimo
from mpkernel.settings import Settings

__all__ = ["parser", "run"]

_OWN_SETTINGS = ("--no-snapshot", "--standby", "0")
_HEEDED = ("log_format", "log_level")
"""The environment's other settings are meant for the servers that it shows: some of them would keep
it from seeing these, as `confine`, `python` and `env_allow` do."""


def parser() -> CommandParser:
    """Of what follows `mpkernel dashboard`."""
    made = CommandParser(
        prog="mpkernel dashboard",
        description="Serve a page that shows all servers of this user, with curves of the last"
        " hour, deaths, and buttons for orders. Whoever has its token can give these orders.",
        examples={
            "mpkernel dashboard": "on this machine alone; opens a browser",
            "mpkernel dashboard --headless --port 2720": "no browser; the URL is printed",
            "mpkernel dashboard --host 0.0.0.0 --token-password-file FILE": "for other machines",
        },
    )
    made.add_argument("--port", type=int, metavar="N", help="where it listens; default: a free one")
    made.add_argument("--host", metavar="ADDRESS", help="default: 127.0.0.1, this machine alone")
    made.add_argument("--headless", action="store_true", help="open no browser")
    made.add_argument("--base-url", metavar="PATH", help="under which path it is served")
    made.add_argument("--proxy", metavar="ADDRESS", help="the reverse proxy's address")
    token = made.add_mutually_exclusive_group()
    token.add_argument("--token-password", metavar="TEXT", help="the token; default: a random one")
    token.add_argument("--token-password-file", metavar="FILE", help="read the token from here")
    token.add_argument(
        "--no-token", action="store_true", help="let in everybody who reaches the address"
    )
    return made


def run(arguments: Sequence[str]) -> int:
    """Serve until interrupted; give the exit code.

    Args:
        arguments: what follows `mpkernel dashboard`.

    Raises:
        UnsupportedMarimo: marimo is missing, or not one that mpkernel supports.
        MPKernelError: what is asked for is not available.
    """
    given = parser().parse_args(arguments)
    options = ["--headless"] if given.headless else []
    if not (given.no_token or given.token_password or given.token_password_file is not None):
        # marimo's own would be a hash of the notebook, which anybody can compute where
        # PYTHONHASHSEED is set.
        given.token_password = secrets.token_urlsafe(16)
    if not given.no_token:
        options.append("--token")
    for name in ("port", "host", "base_url", "proxy", "token_password", "token_password_file"):
        value = getattr(given, name)
        if value is not None:
            options += [f"--{name.replace('_', '-')}", str(value)]
    for name in Settings.__struct_fields__:
        if name not in _HEEDED:
            os.environ.pop(variable_of(name), None)
    os.environ.pop(FILE_VARIABLE, None)
    try:
        return serving.run([str(NOTEBOOK), *_OWN_SETTINGS, *options], _greet)
    except UnsupportedMarimo as error:
        remedy = (error.remedy or "").replace("mpkernel[marimo]", "mpkernel[dashboard]")
        raise UnsupportedMarimo(error.what, remedy=remedy) from error


def _greet(url: str, network: bool) -> None:
    then = "whoever has this URL can restart apps and stop servers; Ctrl-C ends it"
    greet("the dashboard", url, network=network, then=then)
