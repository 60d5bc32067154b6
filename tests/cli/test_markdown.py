"""Tables in Markdown, as a terminal shows them."""

from __future__ import annotations

from pathlib import Path

import pytest

from mpkernel.cli.markdown import in_columns

PAGES = sorted((Path(__file__).parents[2] / "mpkernel" / "docs").glob("*.md"))
TABLE = """\
A table:

| name | what it does |
| --- | --- |
| `one` | wraps, because it has so many words that they do not fit |
| `two` | |

Its end.
"""


def test_a_table_is_set_in_columns_and_wrapped() -> None:
    assert in_columns(TABLE, 30) == (
        "A table:\n"
        "\n"
        "name   what it does\n"
        "-----  -----------------------\n"
        "`one`  wraps, because it has\n"
        "       so many words that they\n"
        "       do not fit\n"
        "`two`\n"
        "\n"
        "Its end.\n"
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
@pytest.mark.parametrize("width", [80, 120])
def test_every_table_of_the_pages_fits_into_a_terminal(page: Path, width: int) -> None:
    written = page.read_text()
    rows = [line for line in written.splitlines() if line.startswith("|")]
    others = [line for line in written.splitlines() if not line.startswith("|")]
    shown = in_columns(written, width).splitlines()
    set_lines = [line for line in shown if line not in others]
    assert all(len(line) <= width for line in set_lines)
    assert bool(rows) == bool(set_lines)
