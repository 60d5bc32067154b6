"""A real marimo server in a process of its own, and tabs of it without a browser.

`process.py` starts the server and looks for what it leaves behind, `tab.py` is a client of its
protocol, `programs.py` which servers the scenarios compare. The end-to-end tests use it too.
"""

from __future__ import annotations

from .process import MARK, PROGRAM, SERVER_OPTIONS, Server, free_port, mapped_files
from .tab import Element, Tab, TabClosed, http_client, open_tabs

__all__ = [
    "MARK",
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
