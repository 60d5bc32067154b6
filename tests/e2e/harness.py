"""What the end-to-end tests share: a `Server` to start, a `Tab` to open, notebooks to serve."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from waiting import LONG_PATIENCE_S, PATIENCE_S

from benchmarks import marimo_server
from benchmarks.marimo_server import (
    MARK,
    PROGRAM,
    SERVER_OPTIONS,
    Element,
    Tab,
    TabClosed,
    free_port,
    http_client,
    mapped_files,
    open_tabs,
)

__all__ = [
    "EXAMPLES",
    "MARK",
    "NOTEBOOKS",
    "PATIENCE_MS",
    "PROGRAM",
    "SERVER_OPTIONS",
    "Element",
    "Server",
    "Tab",
    "TabClosed",
    "free_port",
    "http_client",
    "mapped_files",
    "open_tabs",
    "restarts_of",
    "status_says",
]

PATIENCE_MS = 1000 * LONG_PATIENCE_S
"""How long a page may take to show something, on a machine that does much else."""

EXAMPLES = Path(__file__).parents[2] / "mpkernel" / "examples"
NOTEBOOKS = Path(__file__).parent / "notebooks"

_ports: list[int] = []  # of servers that have ended


class Server(marimo_server.Server):
    """A notebook server in a process of its own, for the length of a `with` block.

    Once it has ended, the next one gets its port: a browser has the 300 files of marimo's page for
    each port, and so has them already.

    Args:
        paths: notebooks and directories to serve (or an application, for another program).
        standby: whether it has as many standby processes as the product has by default. Default
            False: it has none, unless its options or `env` say so. Each would import marimo, which
            takes half a second of a processor, and most tests do not look at it.
        env: variables to add to the environment; a value of None removes one.
        others: see `benchmarks.marimo_server.Server`.
    """

    def __init__(
        self,
        *paths: str | os.PathLike[str],
        standby: bool = False,
        env: Mapping[str, str | None] | None = None,
        **others: Any,
    ) -> None:
        none = {} if standby else {"MPKERNEL_STANDBY": "0"}
        self._gives_port_on = "program" not in others and "port" not in others
        if self._gives_port_on and _ports:
            others["port"] = _ports.pop()
        super().__init__(*paths, env={**none, **(env or {})}, **others)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            error.add_note(f"mpkernel status then said:\n{_said_by_status_or_error()}")
        super().__exit__(kind, error, traceback)

    def _end(self) -> list[str]:
        try:
            return super()._end()
        finally:
            if self._gives_port_on:
                _ports.append(self.port)
                self._gives_port_on = False


def restarts_of(tab: Tab) -> list[str]:
    """What a tab was told each time when it had come back. On a busy machine it may be told before
    that it waits for its turn."""
    banners = tab.received("banner")
    return [one["description"] for one in banners if one["title"] == "This app was restarted"]


async def status_says(*texts: str) -> None:
    """Wait until `mpkernel status` says all of this. A server tells it what there is once a
    second."""
    said = await asyncio.to_thread(_said_by_status)
    deadline = time.monotonic() + LONG_PATIENCE_S
    while not all(text in said for text in texts):
        assert time.monotonic() < deadline, f"{texts} are not all said: {said}"
        said = await asyncio.to_thread(_said_by_status)


def _said_by_status() -> str:
    """What `mpkernel status` says of the servers that run."""
    command = [sys.executable, "-m", "mpkernel", "status"]
    return subprocess.check_output(command, text=True, timeout=PATIENCE_S)


def _said_by_status_or_error() -> str:
    try:
        return _said_by_status()
    except (OSError, subprocess.SubprocessError) as error:
        return repr(error)
