"""How an object is prepared for another process, which does not have the server's program."""

from __future__ import annotations

import copy
import datetime
import functools
import json
import pickle
import threading
from collections import namedtuple
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any

import pytest

from mpkernel.marimo_backend.carried import Carried, NotCarried, Written
from mpkernel.marimo_backend.server.carrying import carried

Pair = namedtuple("Pair", "left right")
Row = namedtuple("Row", "id name name", rename=True)  # as of a query with two columns of one name


class Text(str):
    pass


class Parent:
    def __init__(self) -> None:
        self.children = [Child(self)]
        self._hidden = threading.Lock()

    @functools.cached_property
    def count(self) -> int:
        return len(self.children)

    @property
    def broken(self) -> int:
        raise OSError("the database is away")

    def method(self) -> None:
        """A method, which is not carried to an app's process."""


class Child:
    __slots__ = ("parent",)

    def __init__(self, parent: Parent) -> None:
        self.parent = parent


class Endless:
    @property
    def next(self) -> Endless:
        return Endless()


def arrived(value: Any) -> Any:
    """The object as an app's process gets it."""
    return pickle.loads(pickle.dumps(carried(value, "value")))


@pytest.mark.parametrize(
    "value",
    [
        None,
        3,
        "text",
        b"bytes",
        [1, {"a": (2, {3})}],
        datetime.datetime(2024, 1, 2, tzinfo=datetime.UTC),
        Decimal("1.5"),
        PurePosixPath("/a"),
        json.dumps,
    ],
)
def test_plain_values_and_those_of_the_standard_library_are_as_they_were(value: Any) -> None:
    assert arrived(value) == value


def test_subclasses_of_built_in_types_are_these_types() -> None:
    made = arrived([Text("a"), Pair(1, 2), Row(1, "a", "b")])
    assert type(made[0]) is str
    assert made[2]._asdict() == {"id": 1, "name": "a", "_2": "b"}
    assert pickle.loads(pickle.dumps(made[1])).right == 2
    assert __name__.encode() not in pickle.dumps(carried([Text("a"), Pair(1, 2)], "value"))


def test_an_object_is_its_data_also_where_it_leads_back_to_itself() -> None:
    made = arrived(Parent())
    assert isinstance(made, Carried)
    assert made.count == 1
    assert made.children[0].parent is made
    with pytest.raises(AttributeError, match="could not be carried"):
        _ = made.broken
    with pytest.raises(AttributeError, match="only its data"):
        made.method()
    with pytest.raises(AttributeError, match="cannot be changed"):
        made.count = 2
    assert "Parent" in repr(copy.deepcopy(made))


@pytest.mark.parametrize(
    "value",
    [Parent, Parent().method, lambda: 1, threading.Lock(), Endless(), functools.partial(Parent)],
)
def test_what_cannot_be_carried_says_why(value: Any) -> None:
    made = arrived({"it": value})["it"]
    assert isinstance(made, NotCarried)
    assert "not carried to this app's process" in repr(pickle.loads(pickle.dumps(made)))
    with pytest.raises(AttributeError, match="is not here"):
        _ = made.anything


def test_what_cannot_be_read_costs_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    written = {"good": 1, "bad": Written(b"no pickle", "request.meta", "module.Class")}
    made = pickle.loads(pickle.dumps(written))
    assert made["good"] == 1
    assert isinstance(made["bad"], NotCarried)
    assert "not carried to the app: module.Class in request.meta" in caplog.text
