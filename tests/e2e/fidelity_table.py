"""The table of what works with which backend, as the fidelity tests find it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from e2e.fidelity_backends import BACKENDS

__all__ = ["MARKERS", "Table", "markdown", "noted"]

MARKERS = ("<!-- fidelity -->", "<!-- /fidelity -->")
"""Between them stands the table."""

_CELLS = {"passed": "yes", "skipped": "no"}


class Table:
    """A pytest plugin: writes what the fidelity tests found as a table in Markdown.

    Args:
        path: the file to write it into, between the lines of `MARKERS`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._cells: dict[str, dict[str, str]] = {}
        self._notes: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        found = dict(report.user_properties).get("fidelity")
        if found is None or report.when != "call":
            return
        name, title = found
        cell = _CELLS.get(report.outcome, "FAILED")
        if note := getattr(report, "wasxfail", ""):
            cell = noted(cell, note, self._notes)
        self._cells.setdefault(name, {})[title] = cell

    def pytest_sessionfinish(self) -> None:
        text = self._path.read_text()
        head, begin, rest = text.partition(MARKERS[0])
        _, end, tail = rest.partition(MARKERS[1])
        table = markdown(self._cells, self._notes)
        self._path.write_text(f"{head}{begin}\n{table}\n{end}{tail}")


def noted(cell: str, note: str, notes: list[str]) -> str:
    """The text of a cell with the number of its note. A new note is added to the notes."""
    if note not in notes:
        notes.append(note)
    return f"{cell} [{notes.index(note) + 1}]"


def markdown(cells: Mapping[str, Mapping[str, str]], notes: Sequence[str]) -> str:
    """The table.

    Args:
        cells: by feature's name and backend's title.
        notes: what the numbers in the cells stand for.
    """
    titles = [backend.title for backend in BACKENDS]
    rows = [["in run mode", *titles], ["---"] * (1 + len(titles))]
    for name, found in cells.items():
        rows.append([name, *(found.get(title, "not run") for title in titles)])
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([*lines, "", *(f"[{n}] {note}.  " for n, note in enumerate(notes, 1))])
