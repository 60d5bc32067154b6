"""`header_of_markdown`: the header of a notebook in Markdown, as marimo writes it.

---
title: Sales
pyproject: |
  requires-python = ">=3.11"
  dependencies = ["polars==1.20"]
---

The key `pyproject` has the TOML alone, or the whole block of comments. Without that key, the block
is looked for in the text of the key `header`. Front matter that is not YAML does not count: the
text between two lines of dashes may be anything.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import msgspec

from mpkernel.errors import SandboxError

__all__ = ["HeaderOfMarkdown", "header_of_markdown", "is_markdown"]

_SUFFIXES = (".md", ".qmd")
_FRONT_MATTER = re.compile(r"---\s*\n(.*?\n?)---\s*\n", re.DOTALL)
_PYPROJECT, _HEADER = "pyproject", "header"
_BEGIN, _END = "# /// script", "# ///"


class HeaderOfMarkdown(NamedTuple):
    """What was found in the front matter.

    Attributes:
        script: a text in which the header is a block of comments.
        key: where it was found.
        is_wrapped: whether the notebook has its TOML alone, without the lines around it.
    """

    script: str
    key: str
    is_wrapped: bool


def is_markdown(path: str) -> bool:
    """Whether the file of this path is a notebook in Markdown, to judge by its name."""
    return path.endswith(_SUFFIXES)


def header_of_markdown(text: str, path: str) -> HeaderOfMarkdown | None:
    """The header of a notebook in Markdown; None if it has none.

    Args:
        text: the notebook.
        path: its file, for messages.

    Raises:
        SandboxError: what is named like a header is not a string; or YAML cannot be read here.
    """
    table = _front_matter(text, path)
    for key in (_PYPROJECT, _HEADER):
        found = table.get(key)
        if not found:
            continue
        if not isinstance(found, str):
            raise SandboxError(
                f"{path}: {key} in its front matter is not a string",
                remedy=f"write '{key}: |', and the header below it, indented",
            )
        if key == _HEADER or found.splitlines()[0] == _BEGIN:
            return HeaderOfMarkdown(found, key, is_wrapped=False)
        return HeaderOfMarkdown(_wrapped(found), key, is_wrapped=True)
    return None


def _front_matter(text: str, path: str) -> dict[str, object]:
    found = _FRONT_MATTER.match(text)
    if found is None or not any(f"{key}:" in found[1] for key in (_PYPROJECT, _HEADER)):
        return {}
    try:
        table = msgspec.yaml.decode(found[1])
    except msgspec.DecodeError:
        return {}
    except ImportError as error:
        raise SandboxError(
            f"the front matter of {path} cannot be read: {error}", remedy="pip install pyyaml"
        ) from error
    return table if isinstance(table, dict) else {}


def _wrapped(toml: str) -> str:
    lines = (f"# {line}".rstrip() for line in toml.rstrip().splitlines())
    return "\n".join((_BEGIN, *lines, _END)) + "\n"
