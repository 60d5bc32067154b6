"""Cells: where a file is split, and which run again."""

from __future__ import annotations
import __future__

import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpkernel.kernel.code.cells import Cell, future_flags, split, to_rerun


def test_a_file_is_split_at_its_markers() -> None:
    source = "#!/usr/bin/env python\nimport os\n\n# %% Load\nx = 1\n# %%\n\ny = x\n"
    assert split(source) == [
        Cell("cell-1", "#!/usr/bin/env python\nimport os\n\n", 1),
        Cell("cell-2", "x = 1\n", 5, "Load"),
        Cell("cell-3", "\ny = x\n", 7),
    ]


def test_a_file_without_markers_is_one_cell() -> None:
    source = "# -*- coding: utf-8 -*-\nx = 1\n  # %% indented\n#%% tight\ny = 2  # %% behind"
    assert split(source) == [Cell("cell-1", source, 1)]


@pytest.mark.parametrize("source", ["", "\n\n", "# %%\n", "#!python\n# %% only\n\n# a word\n# %%"])
def test_a_file_without_code_has_no_cells(source: str) -> None:
    assert split(source) == []


def test_cells_without_code_are_dropped() -> None:
    assert split("# a word\n# %% first\n\n# %% second\nx\n# %% last") == [
        Cell("cell-1", "x\n", 5, "second")
    ]


@pytest.mark.parametrize(
    "source",
    [
        's = """\n# %%\n"""\n',
        "s = f'''\n# %% {1}\n'''\n",
        "s = 'one \\\n# %% two'\n",
        "x = [\n# %%\n1]\n",
        "x = 1 + \\\n  2 \\\n# %%\n",
        "if 1:\n    x = 1\n# %%\n    y = 2\n",
        "if 1:\n    x = 1\n# %%\nelse:\n    y = 2\n",
        "try:\n    x = 1\n# %%\nfinally:\n    y = 2\n",
        "@staticmethod\n# %%\ndef f(): ...\n",
    ],
)
def test_a_marker_within_a_statement_does_not_split(source: str) -> None:
    compile(source, "<test>", "exec")
    assert split(source) == [Cell("cell-1", source, 1)]


def test_a_marker_behind_a_block_splits() -> None:
    assert [cell.code for cell in split("def f():\n    return 1\n# %%\nelsewhere = f()\n")] == [
        "def f():\n    return 1\n",
        "elsewhere = f()\n",
    ]


@pytest.mark.parametrize("broken", ["s = '''", "x = (1", "if 1:\n    x\n  y", "s = 'a"])
def test_a_file_that_is_no_sequence_of_tokens_is_one_cell(broken: str) -> None:
    source = f"x = 1\n# %%\n{broken}\n"
    assert split(source) == [Cell("cell-1", source, 1)]


def test_other_errors_stay_in_their_cell() -> None:
    assert [cell.first_line for cell in split("x = 1\n# %%\ny = = 2\n# %%\nz = 3\n")] == [1, 3, 5]


def test_lines_end_as_python_has_it() -> None:
    assert split("x = 1\r\n# %% two\r\ny = '\x0c\u2028'\r# %%\rz = 1") == [
        Cell("cell-1", "x = 1\n", 1),
        Cell("cell-2", "y = '\x0c\u2028'\n", 3, "two"),
        Cell("cell-3", "z = 1", 5),
    ]


STATEMENTS = st.sampled_from(
    [
        "x = 1\n",
        "\n",
        "# a word\n",
        "# %%\n",
        "# %% a title\n",
        "s = '''\n# %%\n'''\n",
        "x = [\n\n# %%\n    1]\n",
        "if 1:\n    x = 2\n# %%\nelse:\n    x = 3\n",
        "def f():\n    pass\n\n",
        "@str\n# %%\nclass C:\n    pass\n",
    ]
)


@given(st.lists(STATEMENTS, max_size=12))
def test_every_line_stays_at_its_place_and_every_cell_compiles(statements: list[str]) -> None:
    source = "".join(statements)
    lines = source.splitlines(keepends=True)
    cells = split(source)
    assert [cell.name for cell in cells] == [f"cell-{n + 1}" for n in range(len(cells))]
    covered: set[int] = set()
    for cell in cells:
        compile(cell.code, "<test>", "exec")
        own = range(cell.first_line - 1, cell.first_line - 1 + cell.code.count("\n"))
        assert cell.code == "".join(lines[line] for line in own)
        assert covered.isdisjoint(own)
        covered.update(own)
    left_out = [line for number, line in enumerate(lines) if number not in covered]
    assert all(line.startswith("#") or line.isspace() for line in left_out)


@given(st.text())
def test_any_text_can_be_split(source: str) -> None:
    for cell in split(source):
        assert cell.code


def test_future_imports_hold_for_all_cells() -> None:
    cells = split(
        '"""About."""\n\nfrom __future__ import (\n    annotations,  # why\n    division as d,\n)\n'
        "# %%\nx: Missing = 1\n"
    )
    flags = future_flags(cells)
    assert flags == (__future__.annotations.compiler_flag | __future__.division.compiler_flag)
    exec(compile(cells[1].code, "<test>", "exec", flags, dont_inherit=True), {})


@pytest.mark.parametrize(
    "source",
    ["", "x = 1", "text = 'from __future__ import annotations'", "from __future__ import braces",
     "# from __future__ import annotations\nx = 1", "from __future__ import '"],
)  # fmt: skip
def test_without_future_imports_there_are_no_flags(source: str) -> None:
    assert future_flags(split(source)) == 0


def rerun(source: str, *changed: str) -> list[str]:
    return [cell.title for cell in to_rerun(split(textwrap.dedent(source)), changed)]


APP = """\
    # %% imports
    import math
    # %% input
    n = 1
    # %% square
    square = n * n
    for i in range(square): pass
    # %% report
    def report():
        print("square is", square)
    # %% other
    other = math.pi
    for i in range(3): print(i)
    # %% show
    report()
"""


def test_cells_that_read_a_changed_name_run_again_and_those_that_read_theirs() -> None:
    assert rerun(APP, "n") == ["square", "report", "show"]
    assert rerun(APP, "square") == ["report", "show"]
    assert rerun(APP, "math") == ["other"]
    assert rerun(APP, "nobody's") == []
    assert rerun(APP) == []


def test_a_cell_that_only_defines_a_changed_name_does_not_run_again() -> None:
    assert rerun("# %% one\nn = 1\n# %% two\nn = 2; print(n)\n# %% three\nn += 1", "n") == ["three"]


def test_an_earlier_cell_that_reads_a_changed_name_runs_again_too() -> None:
    source = "# %% early\ndef f(): return n * m\n# %% late\nn = k\n# %% use\nf()"
    assert rerun(source, "k") == ["early", "late", "use"]


def test_cells_that_read_from_each_other_run_once() -> None:
    assert rerun("# %% one\na = b\n# %% two\nb = a\n", "a") == ["one", "two"]


def test_a_name_of_python_counts_when_it_is_changed() -> None:
    source = "# %% one\nprint(max(1, 2))\n# %% two\nmax = k\n"
    assert rerun(source, "max") == ["one"]
    assert rerun(source, "k") == ["one", "two"]


def test_a_star_import_that_runs_again_may_change_anything() -> None:
    source = "# %% one\nprint(k)\nfrom math import *\n# %% two\nprint(sin(1))\n# %% three\nprint()"
    assert rerun(source, "k") == ["one", "two"]


def test_cells_of_the_same_code_are_told_apart() -> None:
    cells = [Cell("cell-1", "print(x)\n", 1), Cell("cell-2", "print(x)\n", 3)]
    assert to_rerun(cells, ["x"]) == cells
