"""What the end-to-end tests share: a `Server` to start, a `Tab` to open, notebooks to serve."""

from __future__ import annotations

from pathlib import Path

from benchmarks.marimo_server import (
    MARK,
    PROGRAM,
    SERVER_OPTIONS,
    Element,
    Server,
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
]

PATIENCE_MS = 90_000
"""How long a page may take to show something, on a machine that does much else."""

EXAMPLES = Path(__file__).parents[2] / "mpkernel" / "examples"
NOTEBOOKS = Path(__file__).parent / "notebooks"
