"""The names that a cell reads, and those that it defines."""

from __future__ import annotations

import builtins
import contextlib
import re
import sys
import textwrap
from collections.abc import Iterable
from types import CodeType, FunctionType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpkernel.kernel.code.names import names

NAMES = ["a", "b", "c", "d"]


def reads(code: str) -> set[str]:
    return set(names(textwrap.dedent(code)).reads)


def defines(code: str) -> set[str]:
    return set(names(textwrap.dedent(code)).defines)


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
    """Run the code without this file's `__future__` imports."""
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


def runs_at_once(code: str) -> bool:
    """Whether all that the statement names is read when it runs."""
    is_annotated = re.match(r"\w+: ", code) is not None
    # From Python 3.14 on, annotations are evaluated when somebody asks for them.
    return not code.startswith(("def", "class")) and not (
        is_annotated and sys.version_info >= (3, 14)
    )


@given(st.lists(SIMPLE.filter(runs_at_once), max_size=6))
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
