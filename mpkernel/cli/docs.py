"""`mpkernel docs [PAGE]`: the pages of documentation that came with this version."""

from __future__ import annotations

import importlib.resources
import os
import pydoc
import re
from collections.abc import Sequence

from mpkernel.cli.markdown import in_columns
from mpkernel.cli.output import as_json, show
from mpkernel.cli.parsers import CommandParser, similar
from mpkernel.cli.screen import screen
from mpkernel.cli.tables import columns, heads
from mpkernel.errors import MPKernelError

__all__ = ["pages", "parser", "run"]

_LIST = "README.md"
_ENTRY = re.compile(r"^- \[(?P<name>[\w-]+)\]\((?P=name)\.md\): (?P<summary>.+)$", re.MULTILINE)
_COMMENT = re.compile(r"^<!--.*-->\n", re.MULTILINE)


def parser() -> CommandParser:
    """Of what follows `mpkernel docs`."""
    made = CommandParser(
        prog="mpkernel docs",
        description="Show a page of the documentation of this version; without PAGE, the list.",
        examples={
            "mpkernel docs": "the pages, with a line about each",
            "mpkernel docs serving": "one of them",
        },
    )
    made.add_argument("page", nargs="?", metavar="PAGE", help="its name in the list")
    made.add_argument("--json", action="store_true", help="the list, for programs")
    return made


def run(arguments: Sequence[str]) -> int:
    """Show a page, or the list of pages; give the exit code.

    A terminal shows a page in the user's pager, as `pydoc` does, with tables as wide as it is;
    anything else gets the page as it is written.

    Args:
        arguments: what follows `mpkernel docs`.

    Raises:
        MPKernelError: there is no such page.
    """
    given = parser().parse_args(arguments)
    name = given.page
    summaries = pages()
    if name is None and given.json:
        print(as_json("docs", pages=summaries))
    elif name is None:
        head = heads("PAGE", "WHAT IT TELLS")
        show(
            columns([head, *summaries.items()], flexible={1}, screen=screen()),
            then="mpkernel docs PAGE shows one",
        )
    elif name in summaries:
        page = _COMMENT.sub("", _text_of(f"{name}.md"))
        width = screen().width
        if width is not None:
            page = in_columns(page, width)
        pydoc.pager(page)
    else:
        meant = similar(name, summaries)
        raise MPKernelError(
            f"there is no page {name}{meant}", remedy=f"pages: {', '.join(summaries)}"
        )
    return os.EX_OK


def pages() -> dict[str, str]:
    """The name of each page, in reading order, with a line about what it tells."""
    return {entry["name"]: entry["summary"] for entry in _ENTRY.finditer(_text_of(_LIST))}


def _text_of(file: str) -> str:
    return (importlib.resources.files("mpkernel") / "docs" / file).read_text(encoding="utf-8")
