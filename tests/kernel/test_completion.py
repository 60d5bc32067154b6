"""Completion: what it finds, and that none of the user's code runs for it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpkernel.kernel.code.completion import complete


def matches(code: str, **namespace: object) -> list[str]:
    return complete(code, len(code), namespace)[1]


class Trap:
    """An object whose methods all fail when they are called."""

    inside = 1

    def __init__(self) -> None:
        object.__setattr__(self, "own", 2)

    def __dir__(self) -> Any:
        raise AssertionError("asked __dir__")

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"asked __getattr__ for {name}")

    def __getattribute__(self, name: str) -> Any:
        raise AssertionError(f"asked __getattribute__ for {name}")

    @property
    def __class__(self) -> Any:
        raise AssertionError("asked __class__")

    @property
    def computed(self) -> Any:
        raise AssertionError("asked a property")

    def method(self) -> None: ...


class Deceiving(type):
    """The same of a class."""

    @property
    def __mro__(cls) -> Any:
        raise AssertionError("asked __mro__")

    @property
    def __dict__(cls) -> Any:
        raise AssertionError("asked __dict__")

    def __getattribute__(cls, name: str) -> Any:
        raise AssertionError(f"asked __getattribute__ for {name}")


def test_a_name_goes_on_as_those_of_the_namespace_of_python_and_its_keywords() -> None:
    code = "print(al) + 1"
    assert complete(code, 8, {"alphabet": 1, "other": 2}) == (6, ["all", "alphabet"])
    assert matches("whi") == ["while"]
    assert matches("matc") == ["match"]
    assert matches("nothing_like_this") == []


def test_private_names_come_last() -> None:
    assert matches("module.", module=namespace_module(_b=1, c=1, a=1, __d__=1)) == [
        "a", "c", "__d__", "_b",
    ]  # fmt: skip


def test_there_are_at_most_five_hundred_matches() -> None:
    many = {f"name_{index:04}": index for index in range(2000)}
    assert matches("name_", **many) == sorted(many)[:500]


def test_what_follows_a_dot_are_attributes() -> None:
    assert complete("x = word.upp", 12, {"word": "w"}) == (9, ["upper"])
    assert matches("path.jo", path=Path) == ["joinpath"]
    assert matches("sys.version_info.maj", sys=sys) == ["major"]
    assert matches("number.real.", number=1) == []  # computed in C: it could do anything
    assert matches("sys.flags.__cla", sys=sys) == ["__class__", "__class_getitem__"]
    assert matches("str.upper.__na") == ["__name__"]


def test_attributes_are_followed_through_instances_classes_slots_and_modules() -> None:
    class Slotted:
        __slots__ = ("empty", "held")

    class Outer:
        slotted = Slotted()
        slotted.held = "text"  # type: ignore[attr-defined]

        @staticmethod
        def static() -> None: ...

        @classmethod
        def of_class(cls) -> None: ...

    outer = Outer()
    outer.module = namespace_module(inner=outer)  # type: ignore[attr-defined]
    assert matches("outer.module.inner.slotted.hel", outer=outer) == ["held"]
    assert matches("outer.slotted.held.capi", outer=outer) == ["capitalize"]
    assert matches("outer.slotted.empty.a", outer=outer) == []
    assert matches("Outer.static.__cod", Outer=Outer) == ["__code__"]
    assert matches("outer.of_class.__cod", outer=outer) == ["__code__"]
    assert matches("outer.missing.a", outer=outer) == []


@pytest.mark.parametrize("code", ["f(x).re", "x[0].re", "'a'.up", "1.re", "1.", "x..re", "(x).re"])
def test_what_is_more_than_a_dotted_name_is_not_followed(code: str) -> None:
    assert matches(code, x=1j) == []


def test_no_code_of_an_instance_or_its_class_runs() -> None:
    found = matches("trap.", trap=Trap())
    assert {"inside", "own", "computed", "method"} <= set(found)
    assert matches("trap.inside.bit_l", trap=Trap()) == ["bit_length"]
    assert matches("trap.own.bit_l", trap=Trap()) == ["bit_length"]
    assert matches("trap.computed.a", trap=Trap()) == []
    assert matches("trap.anything.a", trap=Trap()) == []
    assert matches("trap.method.__nam", trap=Trap()) == ["__name__"]


def test_no_code_of_a_metaclass_runs() -> None:
    deceiving = Deceiving("Deceiver", (), {"inside": "text"})
    assert matches("Deceiver.insi", Deceiver=deceiving) == ["inside"]
    assert matches("Deceiver.inside.upp", Deceiver=deceiving) == ["upper"]
    assert matches("it.insi", it=type.__call__(deceiving)) == ["inside"]


def test_no_code_of_a_module_runs() -> None:
    def fail(*_: object) -> Any:
        raise AssertionError("asked the module")

    module = namespace_module(__getattr__=fail, __dir__=fail, word="w")
    assert matches("lazy.wo", lazy=module) == ["word"]
    assert matches("lazy.other.a", lazy=module) == []


def test_a_dict_that_a_class_makes_up_is_not_asked() -> None:
    class Hidden:
        @property
        def __dict__(self) -> Any:
            raise AssertionError("asked __dict__")

    assert "own" not in matches("hidden.", hidden=Hidden())


def test_names_that_are_no_names_are_left_out() -> None:
    module = namespace_module(good=1)
    vars(module).update({"no name": 1, "": 1})
    dict.__setitem__(vars(module), 7, 1)  # type: ignore[arg-type]
    assert matches("module.", module=module) == ["good"]


@pytest.mark.parametrize(
    "code",
    [
        "'al", '"al', "x = 'al", '"""al', "'''\nal", 'f"{al', "# al", "x = 1  # al", "'it\\'s al",
        '"""a "quoted" al', "'one' 'al", "'\\", "r'al", "b'al", '"""a""" """al', "#'\n'al",
    ],
)  # fmt: skip
def test_within_strings_and_comments_there_is_nothing_to_complete(code: str) -> None:
    assert complete(code, len(code), {"alphabet": 1}) == (len(code), [])


@pytest.mark.parametrize(
    "code",
    ["'a' + al", "'#' + al", "# it's\nal", '"""\'""" + al', "'' + al", "'open\nal", "'\\\\' + al"],
)
def test_behind_strings_and_comments_there_is(code: str) -> None:
    assert matches(code, alphabet=1) == ["all", "alphabet"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with modules that can be imported. None of them may be run."""
    package = tmp_path / "mpk_package" / "inner"
    package.mkdir(parents=True)
    for file in (tmp_path / "mpk_single.py", package / "__init__.py", package / "deepest.py"):
        file.write_text("raise AssertionError('imported')")
    (package.parent / "__init__.py").write_text("raise AssertionError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    modules = set(sys.modules)
    yield tmp_path
    assert {name for name in set(sys.modules) - modules if name.startswith("mpk_")} == set()


@pytest.mark.parametrize(
    ("code", "start", "expected"),
    [
        ("import mpk_", 7, ["mpk_package", "mpk_single"]),
        ("from mpk_", 5, ["mpk_package", "mpk_single"]),
        ("import os, mpk_s", 11, ["mpk_single"]),
        ("x = 1; import mpk_s", 14, ["mpk_single"]),
        ("if x: import mpk_s", 13, ["mpk_single"]),
        ("def f():\n    import mpk_s", 20, ["mpk_single"]),
        ("import mpk_package.", 19, ["inner"]),
        ("from mpk_package import in", 24, ["inner"]),
        ("from mpk_package.inner import ", 30, ["deepest"]),
        ("import mpk_package.inner.dee", 25, ["deepest"]),
        ("import mpk_single.", 18, []),
    ],
)
def test_imports_find_modules_without_running_them(
    folder: Path, code: str, start: int, expected: list[str]
) -> None:
    assert complete(code, len(code), {}) == (start, expected)


def test_a_new_module_is_seen(folder: Path) -> None:
    assert matches("import mpk_s") == ["mpk_single"]
    (folder / "mpk_second.py").touch()
    assert matches("import mpk_s") == ["mpk_second", "mpk_single"]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("from os.path import spli", ["split", "splitdrive", "splitext"]),
        ("from os.path import join, splite", ["splitext"]),
        ("from os.path import (\n    join,  \n    splite", ["splitext"]),
        ("from os.path import(splite", ["splitext"]),
        ("import xml.do", ["dom"]),
        ("import itert", ["itertools"]),
        ("import sys\nfrom sys import getrefc", ["getrefcount"]),
    ],
)
def test_imports_find_what_imported_modules_have(code: str, expected: list[str]) -> None:
    found = matches(code)
    assert [name for name in found if name in expected] == expected
    assert all(name.startswith(expected[0][:4]) for name in found if name in expected)


def test_a_new_name_in_an_import_is_not_looked_for_among_modules() -> None:
    assert matches("import os as alph", alphabet=1) == ["alphabet"]
    assert matches("from os import path as alts", alphabet=1) == []


@given(st.text(), st.integers(-5, 50))
def test_whatever_is_written_there_is_an_answer(code: str, cursor: int) -> None:
    start, found = complete(code, cursor, {"alphabet": 1, "sys": sys})
    assert 0 <= start <= len(code)
    assert all(name.startswith(code[start : max(cursor, 0)]) for name in found)


@pytest.mark.filterwarnings("ignore::Warning")
@given(st.text(alphabet="ab\"'#\\\n", max_size=40))
def test_strings_end_where_python_ends_them(code: str) -> None:
    try:
        value = compile(code + "\nalphabet", "<test>", "exec", dont_inherit=True)
    except SyntaxError:
        return
    if "alphabet" in value.co_names:
        assert "alphabet" in matches(code + "\nalph", alphabet=1)


def namespace_module(**names: object) -> ModuleType:
    module = ModuleType("made_up")
    vars(module).clear()
    vars(module).update(names)
    return module
