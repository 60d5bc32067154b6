"""`mpkernel docs`: shows the pages that came with the package in the terminal."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from cli.terminals import Terminal

from mpkernel.cli.docs import pages

PROGRAM = (sys.executable, "-m", "mpkernel", "docs")
FOLDER = Path(__file__).parents[2] / "mpkernel" / "docs"
LINE_CHARACTERS = 100


def docs(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Outside the checkout: where a wheel is installed, these are the wheel's pages."""
    return subprocess.run([*PROGRAM, *arguments], capture_output=True, text=True, cwd="/")


def test_without_a_page_it_lists_all_of_them_with_a_line_each() -> None:
    listed = docs()
    assert listed.returncode == 0
    lines = listed.stdout.splitlines()[1:-1]
    assert [line.split()[0] for line in lines] == list(pages())
    assert set(pages()) == {path.stem for path in FOLDER.glob("*.md")} - {"README"}
    assert all(len(line) <= LINE_CHARACTERS for line in lines)


@pytest.mark.parametrize("name", ["serving", "benchmarks"])
def test_a_page_is_plain_text_where_nobody_pages(name: str) -> None:
    shown = docs(name)
    assert shown.returncode == 0
    lines = (FOLDER / f"{name}.md").read_text().splitlines()
    assert shown.stdout.splitlines() == [line for line in lines if not line.startswith("<!--")]


def test_a_terminal_shows_a_page_in_the_pager_of_its_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAGER", "sed 's/^/paged: /'")
    with Terminal([*PROGRAM, "design"], cwd=tmp_path) as terminal:
        terminal.wait_for("paged: # Design")
        assert terminal.end() == 0


def test_a_page_that_is_not_there_is_refused_with_the_list() -> None:
    refused = docs("serve")
    assert refused.returncode == 1
    assert refused.stdout == ""
    (line,) = refused.stderr.splitlines()
    assert "no page serve" in line
    assert all(name in line for name in pages())
