"""`Header`: what an app says of itself in a block of comments, as PEP 723 has it.

# /// script
# requires-python = ">=3.11"
# dependencies = ["polars==1.20"]
# ///

A notebook in Markdown has it in its front matter: see `front_matter`.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping

import msgspec

from mpkernel.errors import SandboxError
from mpkernel.sandboxes.front_matter import header_of_markdown, is_markdown

__all__ = ["Header", "read_header"]

# The regular expression is that of the specification, so that other tools find the same header.
_BLOCK = re.compile(
    r"(?m)^# /// (?P<type>[a-zA-Z0-9-]+)$\s(?P<content>(^#(| .*)$\s)+)^# ///$",
)
_TYPE = "script"
_PLACE = re.compile(r" ?\(at line (\d+), column \d+\)")

_ASK = "correct the header of the app"


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """The header of an app.

    Attributes:
        dependencies: the packages that it needs, as requirements (PEP 508).
        requires_python: the versions of Python that it runs on; None for any.
        table: the whole header as TOML has it, with what tools such as uv read in it.
        script: the header as a Python file of its own, for an app of which uv reads none; None if
            uv can read the app's own file.
    """

    dependencies: tuple[str, ...]
    requires_python: str | None
    table: Mapping[str, object]
    script: str | None = None

    @property
    def may_name_paths(self) -> bool:
        """Whether it may mean other things in another folder."""
        return "tool" in self.table or any("@" in one for one in self.dependencies)


def read_header(app: str | os.PathLike[str]) -> Header | None:
    """The header of an app; None if its file has none, or is neither Python nor Markdown, or if the
    header has only a table of marimo.

    Raises:
        SandboxError: the header is not what the specification allows. The message names the line.
        OSError: the file cannot be read.
    """
    path = os.fspath(app)
    in_markdown = is_markdown(path)
    if not in_markdown and not path.endswith(".py"):
        return None
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except UnicodeDecodeError as error:
        # Python may read the app all the same, by the encoding that its first line names.
        if not in_markdown and not _blocks_in(_read_without_others(path)):
            return None
        raise SandboxError(f"{path} is not written in UTF-8: {error}", remedy=_ASK) from error
    if not in_markdown:
        return _header_in(text, path)
    written = header_of_markdown(text, path)
    if written is None:
        return None
    place = f"{path}, '{written.key}' in its front matter"
    header = _header_in(written.script, place, -1 if written.is_wrapped else 0)
    return msgspec.structs.replace(header, script=written.script) if header is not None else None


def _read_without_others(path: str) -> str:
    """The text of a file, without the bytes that are not UTF-8."""
    with open(path, encoding="utf-8", errors="ignore") as file:
        return file.read()


def _blocks_in(text: str) -> list[re.Match[str]]:
    return [found for found in _BLOCK.finditer(text) if found["type"] == _TYPE]


def _header_in(text: str, path: str, lines_before: int = 0) -> Header | None:
    blocks = _blocks_in(text)
    if not blocks:
        return None
    lines = [1 + lines_before + text.count("\n", 0, block.start()) for block in blocks]
    if len(blocks) > 1:
        raise SandboxError(
            f"{path} has several headers, in the lines {', '.join(map(str, lines))}",
            remedy="leave one of them",
        )
    content = "".join(
        line[2:] if line.startswith("# ") else line[1:]
        for line in blocks[0]["content"].splitlines(keepends=True)
    )
    try:
        table = tomllib.loads(content)
    except (ValueError, RecursionError) as error:  # no TOML, or more than Python reads
        place = _PLACE.search(str(error))
        # What ends in the middle is said to be at the end, for which there is no line.
        line = lines[0] + (int(place[1]) if place else content.count("\n"))
        reason = _PLACE.sub("", str(error))
        raise SandboxError(
            f"{path}, line {line}: the header is not TOML: {reason}", remedy=_ASK
        ) from error
    return None if _is_of_marimo_alone(table) else _checked(table, path, lines[0])


def _is_of_marimo_alone(table: Mapping[str, object]) -> bool:
    """Whether a header has nothing but marimo's own table, as for its gallery: it names no
    packages."""
    tool = table.get("tool")
    return table.keys() == {"tool"} and isinstance(tool, dict) and tool.keys() == {"marimo"}


def _checked(table: dict[str, object], path: str, line: int) -> Header:
    dependencies = table.get("dependencies", [])
    if not isinstance(dependencies, list) or not all(isinstance(one, str) for one in dependencies):
        raise SandboxError(
            f"{path}, line {line}: dependencies in the header is not a list of strings", remedy=_ASK
        )
    python = table.get("requires-python")
    if python is not None and not isinstance(python, str):
        raise SandboxError(
            f"{path}, line {line}: requires-python in the header is not a string", remedy=_ASK
        )
    return Header(dependencies=tuple(dependencies), requires_python=python, table=table)
