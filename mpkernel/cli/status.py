"""`mpkernel status [--json] [--sessions]`: every running server of this user, once."""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec

from mpkernel.cli.output import as_json, show, show_nothing
from mpkernel.cli.parsers import CommandParser
from mpkernel.cli.screen import screen
from mpkernel.cli.server_table import View, next_step, report
from mpkernel.server.operations.finding import PublishedServer, published_servers

__all__ = ["NO_SERVER", "HOW_TO_START_ONE", "parser", "public", "run", "show_once"]

NO_SERVER = "no server of this user runs, or keeps a snapshot"
HOW_TO_START_ONE = "mpkernel run PATH serves notebooks; mpkernel run --examples shows some"


def parser() -> CommandParser:
    """Of what follows `mpkernel status`."""
    made = CommandParser(
        prog="mpkernel status",
        description="Show the servers of this user that run: each process of an app, first those"
        " that an operator should look at, then those that use the most memory. Exit code: 0; 1 if"
        " no server runs.",
        examples={
            "mpkernel status": "every server, and the processes of its apps",
            "mpkernel status --sessions": "each session too, and what it runs",
            "mpkernel status --json": "for programs",
        },
    )
    made.add_argument("--json", action="store_true", help="for programs (mpkernel docs commands)")
    made.add_argument("--sessions", action="store_true", help="each session too")
    return made


def run(arguments: Sequence[str]) -> int:
    """Show the servers; give the exit code: 0, or 1 where no server runs.

    Args:
        arguments: what follows `mpkernel status`.
    """
    given = parser().parse_args(arguments)
    if not given.json:
        return show_once(View(with_sessions=given.sessions))
    servers = published_servers()
    print(as_json("status", servers=public(servers)))
    return 0 if servers else 1


def show_once(view: View) -> int:
    """Show the servers, for people; give the exit code."""
    servers = published_servers()
    if servers:
        show(report(servers, view, screen()), then=next_step(servers))
    else:
        show_nothing(NO_SERVER, then=HOW_TO_START_ONE)
    return 0 if servers else 1


def public(servers: Sequence[PublishedServer]) -> list[dict[str, object]]:
    """The servers, for programs."""
    now = time.monotonic()
    return [
        {
            "is_stopped": server.is_stopped,
            "age_s": round(now - server.snapshot.started_at, 1),
            "snapshot_age_s": round(now - server.snapshot.taken_at, 1),
            **msgspec.structs.asdict(server.snapshot),
        }
        for server in servers
    ]
