"""`mpkernel docs [PAGE]`: the pages of documentation that came with this version."""

from __future__ import annotations

import argparse
import importlib.resources
import os
import pydoc
import re
from collections.abc import Sequence

from mpkernel.cli.tables import columns
from mpkernel.errors import MPKernelError

__all__ = ["pages", "run"]

_LIST = "README.md"
_ENTRY = re.compile(r"^- \[(?P<name>[\w-]+)\]\((?P=name)\.md\): (?P<summary>.+)$", re.MULTILINE)
_COMMENT = re.compile(r"^<!--.*-->\n", re.MULTILINE)


def run(arguments: Sequence[str]) -> int:
    """Show a page, or the list of pages; give the exit code.

    A terminal shows a page in the user's pager, as `pydoc` does; anything else gets plain text.

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
        pydoc.pager(_COMMENT.sub("", _text_of(f"{name}.md")))
    else:
        raise MPKernelError(f"there is no page {name}", remedy=f"pages: {', '.join(summaries)}")
    return os.EX_OK


def pages() -> dict[str, str]:
    """The name of each page, in reading order, with a line about what it tells."""
    return {entry["name"]: entry["summary"] for entry in _ENTRY.finditer(_text_of(_LIST))}


def _text_of(file: str) -> str:
    return (importlib.resources.files("mpkernel") / "docs" / file).read_text(encoding="utf-8")
