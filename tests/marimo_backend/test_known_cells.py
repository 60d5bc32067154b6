"""The cells of a notebook are known without parsing it again, for as long as its file stays the
same."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from mpkernel.marimo_backend.server.known_cells import KnownCells


class Notebook:
    """A notebook's file, which counts how often it is parsed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.parsed = 0
        path.write_text("first")

    def now(self, known: KnownCells) -> str:
        return known.now(str(self.path), self._parse)

    def _parse(self) -> str:
        self.parsed += 1
        return self.path.read_text()


@pytest.fixture
def notebook(tmp_path: Path) -> Notebook:
    return Notebook(tmp_path / "notebook.py")


def later() -> float:
    """A time at which the file has not been changed for a while."""
    return time.time() + 60


def test_what_marimo_has_loaded_is_not_parsed(notebook: Notebook) -> None:
    known = KnownCells()
    known.loaded(str(notebook.path), "first", later())
    assert notebook.now(known) == "first"
    assert notebook.parsed == 0


def test_it_is_parsed_once_if_it_may_have_changed_since_it_was_loaded(notebook: Notebook) -> None:
    known = KnownCells()
    known.loaded(str(notebook.path), "before", time.time())  # it was written a moment ago
    assert [notebook.now(known), notebook.now(known)] == ["first", "first"]
    assert notebook.parsed == 1


def test_a_file_that_is_written_has_other_cells(notebook: Notebook) -> None:
    known = KnownCells()
    known.loaded(str(notebook.path), "first", later())
    notebook.path.write_text("other")
    assert notebook.now(known) == "other"


def test_so_has_one_in_its_place_of_the_same_size_and_time(notebook: Notebook) -> None:
    known = KnownCells()
    known.loaded(str(notebook.path), "first", later())
    found = notebook.path.stat()
    other = notebook.path.with_name("other.py")
    other.write_text("other")
    os.utime(other, ns=(found.st_atime_ns, found.st_mtime_ns))
    other.replace(notebook.path)
    assert notebook.now(known) == "other"


def test_of_a_file_that_is_gone_nothing_is_known(notebook: Notebook) -> None:
    known = KnownCells()
    notebook.path.unlink()
    known.loaded(str(notebook.path), "first", later())
    with pytest.raises(OSError, match="notebook"):
        notebook.now(known)


def test_what_cannot_be_parsed_is_tried_again(notebook: Notebook) -> None:
    known = KnownCells()

    def broken() -> str:
        raise SyntaxError("on purpose")

    with pytest.raises(SyntaxError):
        known.now(str(notebook.path), broken)
    assert notebook.now(known) == "first"


def test_a_thousand_notebooks_are_remembered_at_most(tmp_path: Path) -> None:
    known = KnownCells()
    notebooks = [Notebook(tmp_path / f"{number}.py") for number in range(1001)]
    for notebook in notebooks:
        known.loaded(str(notebook.path), "first", later())
    for notebook in notebooks[1:]:
        assert notebook.now(known) == "first"
    assert [one.parsed for one in notebooks] == [0] * 1001
    notebooks[0].now(known)
    assert notebooks[0].parsed == 1
