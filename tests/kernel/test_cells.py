"""Cells: where a file is split, which names they use, which run again."""

from __future__ import annotations
import __future__

import builtins
import contextlib
import sys
import textwrap
from collections.abc import Iterable
from types import CodeType, FunctionType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpkernel.kernel.code.cells import Cell, future_flags, split, to_rerun
from mpkernel.kernel.code.names import names

NAMES = ["a", "b", "c", "d"]


def reads(code: str) -> set[str]:
    return set(names(textwrap.dedent(code)).reads)


def defines(code: str) -> set[str]:
    return set(names(textwrap.dedent(code)).defines)


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


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("a + b.c[d](e)", {"a", "b", "d", "e"}),
        ("x = y = a", {"a"}),
        ("x.y = z[w] = 1", {"x", "z", "w"}),
        ("x += a", {"x", "a"}),
        ("x: a = b", {"a", "b"}),
        ("x: a", {"a"}),
        ("del x, y.z", {"x", "y"}),
        ("f'{a!r:{b}} {{c}}'", {"a", "b"}),
        ("'{a}' # b", set()),
        ("(x := a) + x", {"a"}),
        ("x = x", {"x"}),
        ("def f(p, q=a, *r, s: b = c) -> d: return p + q + r + s + t", {"a", "b", "c", "d", "t"}),
        ("@a\ndef f(): pass", {"a"}),
        ("def f():\n    x = 1\n    def g():\n        return x + y\n", {"y"}),
        ("def f():\n    global x\n    x += 1", {"x"}),
        ("def f():\n    global x\n    x = 1\n    return x", set()),
        ("def f():\n    x = 1\n    def g():\n        global x\n        return x", {"x"}),
        ("def f():\n    x = 1\n    def g():\n        nonlocal x\n        x = y", {"y"}),
        ("def f():\n    return x\n    import x", set()),
        ("def f(): return f()", set()),
        ("async def f():\n    async with a as x:\n        async for y in b: await c(x, y)",
         {"a", "b", "c"}),
        ("lambda p, q=a: p + q + b", {"a", "b"}),
        ("lambda: (x := 1) + x", set()),
        ("[x + a for x in b if x in c for y in x]", {"a", "b", "c"}),
        ("{x: y for x, y in a}", {"a"}),
        ("[x for x in x]", {"x"}),
        ("(x for y in z)", {"x", "z"}),
        ("class C(a, metaclass=b):\n    x = c\n    y = x\n    def f(self): return x", set("abcx")),
        ("class C:\n    x = x", {"x"}),
        ("class C:\n    def f(self): return C()", set()),
        ("class C:\n    x = 1\n    y = [x for _ in x]", {"x"}),
        ("class C:\n    class D: pass\n    def f(self) -> D: return D", {"D"}),
        ("class C:\n    x = 1\n    del x\n    print(x)", {"x"}),
        ("import a.b as c, d.e\nc, d, a", {"a"}),
        ("from a import b as c, d\nc, d, b", {"b"}),
        ("for x in a: x, b\nx", {"a", "b", "x"}),
        ("while a: b", {"a", "b"}),
        ("with a as x, x.b as y: x, y", {"a"}),
        ("try: import x\nexcept a as e: x = e\nx, e", {"a", "e"}),
        ("try: x = 1\nexcept a: pass\nx", {"a", "x"}),
        ("try: pass\nfinally: x = 1\nx", set()),
        ("try: pass\nexcept* a: pass", {"a"}),
        ("if a: x = 1\nelse: x = 2\nx", {"a"}),
        ("if a: x = 1\nx", {"a", "x"}),
        ("a and (x := 1)\nx", {"a", "x"}),
        ("a < b < (x := 1)\nx", {"a", "b", "x"}),
        ("(x := 1) if a else (x := 2)\nx", {"a"}),
        ("match a:\n    case b.c: d\n    case K(x=[y, *z]) | {'k': y, **z} if w: y, z",
         {"a", "b", "d", "K", "w"}),
        ("match a:\n    case x: pass\nx", {"a", "x"}),
        ("print(len(a))", {"a"}),
        ("print = a; print(a)", {"a"}),
        ("if a: max = 1\nmax", {"a", "max"}),
    ],
)  # fmt: skip
def test_what_a_cell_reads(code: str, expected: set[str]) -> None:
    compile(code, "<test>", "exec")
    assert reads(code) == expected


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("a = b, *c = (d := 1), 2\n[e, f.g] = h[0] = 1, 2", {"a", "b", "c", "d", "e"}),
        ("x: int", set()),
        ("x: int = 1", {"x"}),
        ("x += 1", {"x"}),
        ("del x", {"x"}),
        ("import a.b, c as d\nfrom e import f, g as h", {"a", "d", "f", "h"}),
        ("def f(p):\n    x = 1\n    global y, z\n    y = 1", {"f", "y"}),
        ("async def f(): pass", {"f"}),
        ("class C:\n    x = 1\n    def f(self): self.y = 1\n    global z\n    z = 1", {"C", "z"}),
        ("[(y := x) for x in z]", {"y"}),
        ("lambda: (y := 1)", set()),
        ("for x, y in z: v = 1\nelse: w = 1", set("xyvw")),
        ("with a as (x, y): pass", {"x", "y"}),
        ("try: pass\nexcept E as e: x = 1", {"e", "x"}),
        ("match a:\n    case [x, *y] | {'k': x, **y} as z: pass\n    case _: pass", set("xyz")),
    ],
)
def test_what_a_cell_defines(code: str, expected: set[str]) -> None:
    compile(code, "<test>", "exec")
    assert defines(code) == expected


NEWER_SYNTAX = [
    ("def f[T: a](x: T) -> T: return T", {"a"}),
    ("class C[T](b[T]):\n    def f(self) -> T: return a", {"a", "b"}),
    ("type X[T] = a[T]\nX", {"a"}),
    ("f'{f'{a}'}'", {"a"}),
]


def test_what_newer_syntax_reads_where_python_knows_it() -> None:
    for code, expected in NEWER_SYNTAX:
        assert reads(code) == (expected if sys.version_info >= (3, 12) else set())


def test_a_star_import_defines_nobody_knows_what() -> None:
    found = names("from math import *\nx = sin(1)")
    assert found.defines_unknown
    assert found.reads == {"sin"}
    assert not names("from math import sin").defines_unknown


@pytest.mark.parametrize("code", ["x = = y", "'''", "x = \0", "(" * 400, "\ud800", "if x:\n"])
def test_code_that_does_not_parse_uses_no_names(code: str) -> None:
    assert names(code) == (frozenset(), frozenset(), False)


def test_an_expression_that_is_too_deep_to_follow_uses_all_its_names() -> None:
    code = "x = " + " + ".join(["a"] * 900)
    assert {"a"} <= reads(code)
    assert "x" in defines(code)


class Watched(dict[str, object]):
    """A namespace that knows which names were asked for before the code bound them itself."""

    def __init__(self, values: Iterable[str]) -> None:
        super().__init__({name: [1] for name in values})
        self.seen: set[str] = set()
        self.bound: set[str] = set()

    def __getitem__(self, name: str) -> object:
        if name in NAMES and name not in self.bound:
            self.seen.add(name)
        return super().__getitem__(name)

    def __setitem__(self, name: str, value: object) -> None:
        if name in NAMES:
            self.bound.add(name)
        super().__setitem__(name, value)

    def __delitem__(self, name: str) -> None:
        if name not in self.bound:
            self.seen.add(name)
        self.bound.add(name)
        super().__delitem__(name)


def run(code: str, namespace: Watched) -> None:
    """Run it without this file's `__future__`."""
    compiled = compile(code, "<test>", "exec", dont_inherit=True)
    exec(compiled, {"__builtins__": builtins}, namespace)


def indented(code: str) -> str:
    return textwrap.indent(code, "    ")


NAME = st.sampled_from(NAMES)
SIMPLE = st.one_of(
    st.builds("{} = [{}]\n".format, NAME, NAME),
    st.builds("{} += {}\n".format, NAME, NAME),
    st.builds("{}\n".format, NAME),
    st.builds("del {}\n".format, NAME),
    st.builds("import os.path as {}\n".format, NAME),
    st.builds("({} := [{}]), {}\n".format, NAME, NAME, NAME),
    st.builds("{}: {} = {}\n".format, NAME, NAME, NAME),
    st.builds("f'{{{}}}'\n".format, NAME),
    st.builds("class {}:\n    {} = {}\n    {}\n".format, NAME, NAME, NAME, NAME),
    st.builds("class {}(list, x={}):\n    __init_subclass__ = str\n".format, NAME, NAME),
    st.builds("def {}({}={}): ...\n".format, NAME, NAME, NAME),
)


def compound(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    block = inner.map(indented)
    return st.one_of(
        st.builds("{}{}".format, inner, inner),
        st.builds("if {}:\n{}else:\n{}".format, NAME, block, block),
        st.builds("if not {}:\n{}".format, NAME, block),
        st.builds("for {} in [1, 2]:\n{}".format, NAME, block),
        st.builds("while {}:\n{}    break\nelse:\n{}".format, NAME, block, block),
        st.builds("try:\n{}except Exception as {}:\n{}".format, block, NAME, block),
        st.builds("try:\n{}finally:\n{}".format, block, block),
        st.builds("with suppress(Exception) as {}:\n{}".format, NAME, block),
        st.builds("match {}:\n    case [{}]:\n{}".format, NAME, NAME, block.map(indented)),
    )


@given(st.recursive(SIMPLE, compound, max_leaves=8))
def test_what_runs_reads_and_binds_no_more_than_was_found(code: str) -> None:
    namespace = Watched(NAMES)
    code = "from contextlib import suppress\n" + code
    with contextlib.suppress(Exception):
        run(code, namespace)
    found = names(code)
    assert namespace.seen <= found.reads
    assert namespace.bound <= found.defines


@given(st.lists(SIMPLE.filter(lambda code: not code.startswith(("def", "class"))), max_size=6))
def test_what_runs_straight_to_its_end_reads_just_what_was_found(statements: list[str]) -> None:
    namespace = Watched(NAMES)
    code = "".join(statements)
    try:
        run(code, namespace)
    except Exception:  # noqa: BLE001 (what would have run after it is found too)
        return
    assert names(code).reads == namespace.seen
    assert names(code).defines == namespace.bound


@given(NAME, NAME, NAME)
def test_what_a_function_reads_when_it_is_called_is_found(one: str, two: str, three: str) -> None:
    code = (
        f"def function({one}=0):\n    {two} = 1\n"
        f"    return (lambda: [{one} + {two} + {three} for {three} in [{one}]] and a)()\n"
    )
    variables: dict[str, object] = {}
    exec(code, variables)
    function = variables["function"]
    assert isinstance(function, FunctionType)
    assert names(code).reads == globals_of(function.__code__)


def globals_of(code: CodeType) -> set[str]:
    inner = [each for each in code.co_consts if isinstance(each, CodeType)]
    return {*code.co_names}.union(*(globals_of(each) for each in inner))


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
