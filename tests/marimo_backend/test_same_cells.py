"""Which elements are the same after a notebook was edited."""

from __future__ import annotations

from mpkernel.marimo_backend.server.same_cells import SameCells

BEFORE = {"Hbol": "import marimo as mo", "MJUe": "x = mo.ui.slider(0, 9)\nx", "vblA": "y = x.value"}


def test_elements_keep_their_ids_where_nothing_changed() -> None:
    assert SameCells(BEFORE, BEFORE).new_id("MJUe-0") == "MJUe-0"


def test_elements_move_with_their_cell() -> None:
    after = {"Hbol": "'new'", "MJUe": BEFORE["Hbol"], "vblA": BEFORE["MJUe"], "b": BEFORE["vblA"]}
    assert SameCells(BEFORE, after).new_id("MJUe-12") == "vblA-12"


def test_elements_of_a_changed_cell_are_gone_and_named() -> None:
    cells = SameCells(BEFORE, {**BEFORE, "MJUe": "x = mo.ui.slider(0, 10)\nx"})
    assert cells.new_id("MJUe-0") is None
    assert cells.named(["MJUe-0", "MJUe-1"]) == "x"


def test_elements_of_unknown_cells_are_gone() -> None:
    cells = SameCells(BEFORE, BEFORE)
    assert [cells.new_id(one) for one in ("", "x", "other-0", "-")] == [None] * 4
    assert cells.named(["", "other-0"]) == ""


def test_cells_of_the_same_code_keep_their_order() -> None:
    code = "mo.ui.slider(0, 9)"
    cells = SameCells({"a": code, "b": code}, {"x": code, "y": "1", "z": code})
    assert [cells.new_id("a-0"), cells.new_id("b-0")] == ["x-0", "z-0"]
    assert SameCells({"a": code, "b": code}, {"x": code}).new_id("b-0") is None


def test_names_are_those_that_a_reader_may_know() -> None:
    code = "def f():\n    inner = 1\na, (b, _c) = 1, (2, 3)\nd: int = 4\ne.x = 5\n"
    assert SameCells({"a": code}, {}).named(["a-0"]) == "a, b, d"
    many = "\n".join(f"v{number} = 1" for number in range(9))
    assert SameCells({"a": many}, {}).named(["a-0"]) == "v0, v1, v2, v3, v4 and others"
    assert SameCells({"a": "not python ("}, {}).named(["a-0"]) == ""
