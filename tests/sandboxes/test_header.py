"""What is read in a header, and how a wrong one is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from sandboxes.wheels import write_app

from mpkernel.errors import SandboxError
from mpkernel.sandboxes import read_header


def test_a_header_names_packages_pythons_and_what_tools_read(tmp_path: Path) -> None:
    app = write_app(
        tmp_path / "app.py",
        'requires-python = ">=3.11"\ndependencies = ["a==1", "b"]\n\n[tool.uv]\noffline = true',
        "import a\n",
    )
    header = read_header(app)
    assert header is not None
    assert header.dependencies == ("a==1", "b")
    assert header.requires_python == ">=3.11"
    assert header.table["tool"] == {"uv": {"offline": True}}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "import a\n",
        "# /// other\n# dependencies = []\n# ///\n",
        "# /// script\n# dependencies = []\n",
        "    # /// script\n    # ///\n",
        '# /// script\n# [tool.marimo.opengraph]\n# title = "T"\n# ///\n',
    ],
)
def test_an_app_without_such_a_block_has_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "app.py").write_text(text)
    assert read_header(tmp_path / "app.py") is None


def test_a_header_may_stand_after_code_and_have_lines_of_windows(tmp_path: Path) -> None:
    app = tmp_path / "app.py"
    app.write_bytes(b'import a\r\n# /// script\r\n# dependencies = ["a"]\r\n# ///\r\n')
    header = read_header(app)
    assert header is not None
    assert header.dependencies == ("a",)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("x = 1\n# /// script\n#\n# dependencies = [,]\n# ///\n", "app.py, line 4: .*not TOML"),
        ("# /// script\n# dependencies = [\n# ///\n", "app.py, line 2: .*not TOML"),
        ('# /// script\n# dependencies = "a"\n# ///\n', "app.py, line 1: dependencies"),
        ("# /// script\n# requires-python = 3\n# ///\n", "app.py, line 1: requires-python"),
        ("# /// script\n# ///\n#\n", None),
        (
            f"# /// script\n# a = {'9' * 5000}\n# ///\n",
            r"app\.py, line \d+: the header is not TOML: .*digits",
        ),
        (
            f"# /// script\n# a = {'[' * 5000}\n# ///\n",
            r"app\.py, line \d+: the header is not TOML: .*recursion",
        ),
        (
            "# /// script\n# a = 1\n# ///\n\n# /// script\n# a = 2\n# ///\n",
            "several headers, in the lines 1, 5",
        ),
    ],
)
def test_what_is_wrong_with_a_header_is_said_with_its_line(
    tmp_path: Path, text: str, error: str | None
) -> None:
    app = tmp_path / "app.py"
    app.write_text(text)
    if error is None:
        assert read_header(app) is None
        return
    with pytest.raises(SandboxError, match=error):
        read_header(app)


def test_a_file_with_a_header_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_bytes(b"# /// script\n# dependencies = []\n# ///\n# \xff\n")
    with pytest.raises(SandboxError, match=r"app\.py is not written in UTF-8"):
        read_header(tmp_path / "app.py")


def test_a_file_in_another_encoding_has_no_header(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_bytes("# -*- coding: latin-1 -*-\nprint('é')\n".encode("latin-1"))
    assert read_header(tmp_path / "app.py") is None


MARKDOWN = """\
---
title: Sales
{}
---

# Sales
"""
BLOCK = '# /// script\n# dependencies = ["a==1"]\n# ///'


def indented(text: str) -> str:
    return "".join(f"\n  {line}" for line in text.splitlines())


@pytest.mark.parametrize("suffix", ["md", "qmd"])
@pytest.mark.parametrize(
    "front_matter",
    [
        "pyproject: |" + indented('dependencies = ["a==1"]'),
        "pyproject: |-" + indented(BLOCK),
        "header: |" + indented(f'"""What it is."""\n{BLOCK}'),
        f"header: |{indented(BLOCK.replace('1', '2'))}\npyproject: |{indented(BLOCK)}",
        """pyproject: 'dependencies = ["a==1"]'""",
    ],
)
def test_a_notebook_in_markdown_has_its_header_in_its_front_matter(
    tmp_path: Path, front_matter: str, suffix: str
) -> None:
    app = tmp_path / f"app.{suffix}"
    app.write_text(MARKDOWN.format(front_matter))
    header = read_header(app)
    assert header is not None
    assert header.dependencies == ("a==1",)
    assert header.script is not None
    (tmp_path / "script.py").write_text(header.script)
    script = read_header(tmp_path / "script.py")
    assert script is not None
    assert script.table == header.table


@pytest.mark.parametrize(
    "text",
    [
        "# Sales\n",
        MARKDOWN.format("author: me"),
        MARKDOWN.format("header: 'import a'"),
        "---\npyproject: [ no YAML\n---\n",
        "---\nheader: text\n",
        f"# Sales\n\n```\n{BLOCK}\n```\n",
    ],
)
def test_markdown_without_a_header_has_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "app.md").write_text(text)
    assert read_header(tmp_path / "app.md") is None


@pytest.mark.parametrize(
    ("front_matter", "error"),
    [
        ("pyproject: |" + indented("a = 1\nb = ["), "app.md, 'pyproject' .*, line 2: .*not TOML"),
        ("header: |" + indented("# /// script\n# b = [,]\n# ///"), "'header' .*, line 2: .*TOML"),
        ("pyproject: [a]", "app.md: pyproject in its front matter is not a string"),
    ],
)
def test_what_is_wrong_with_a_header_in_markdown_is_said_with_its_line(
    tmp_path: Path, front_matter: str, error: str
) -> None:
    (tmp_path / "app.md").write_text(MARKDOWN.format(front_matter))
    with pytest.raises(SandboxError, match=error):
        read_header(tmp_path / "app.md")
