"""`mpkernel docs [PAGE]`: the pages of documentation that came with this version."""

from __future__ import annotations

import argparse
import importlib.resources
import os
import pydoc
import re
import shutil
import sys
from collections.abc import Sequence

from mpkernel.cli.markdown import in_columns
from mpkernel.cli.tables import columns
from mpkernel.errors import MPKernelError

__all__ = ["pages", "run"]

_LIST = "README.md"
_ENTRY = re.compile(r"^- \[(?P<name>[\w-]+)\]\((?P=name)\.md\): (?P<summary>.+)$", re.MULTILINE)
_COMMENT = re.compile(r"^<!--.*-->\n", re.MULTILINE)


def run(arguments: Sequence[str]) -> int:
    """Show a page, or the list of pages; give the exit code.

    A terminal shows a page in the user's pager, as `pydoc` does, with tables as wide as it is;
    anything else gets the page as it is written.

    Args:
        arguments: what follows `mpkernel docs`.

    Raises:
        MPKernelError: there is no such page.
    """
    parser = argparse.ArgumentParser(
        prog="mpkernel docs",
        description="Show a page of the documentation of this version; without PAGE, the list.",
    )
    parser.add_argument("page", nargs="?", metavar="PAGE", help="its name in the list")
    name = parser.parse_args(arguments).page
    summaries = pages()
    if name is None:
        print("\n".join(columns([("PAGE", "WHAT IT TELLS"), *summaries.items()])))
    elif name in summaries:
        page = _COMMENT.sub("", _text_of(f"{name}.md"))
        if sys.stdout.isatty():
            page = in_columns(page, shutil.get_terminal_size().columns)
        pydoc.pager(page)
    else:
        raise MPKernelError(f"there is no page {name}", remedy=f"pages: {', '.join(summaries)}")
    return os.EX_OK


def pages() -> dict[str, str]:
    """The name of each page, in reading order, with a line about what it tells."""
    return {entry["name"]: entry["summary"] for entry in _ENTRY.finditer(_text_of(_LIST))}


def _text_of(file: str) -> str:
    return (importlib.resources.files("mpkernel") / "docs" / file).read_text(encoding="utf-8")
