"""Types at run time: hints looked up in the script's own namespace."""

from __future__ import annotations

import typing
from typing import Annotated, Generic, Literal, TypedDict, TypeVar, get_args, get_type_hints

# %% Names that hints refer to

T = TypeVar("T")


class Stack(Generic[T]):
    top: Node | None
    size: Annotated[int, "in nodes"]

    def push(self, value: T, *, at: Literal["top", "bottom"] = "top") -> Stack[T]: ...


class Node:
    below: Node | None
    value: list[Stack[int]]


# %% Defined later than they are used


class Movie(TypedDict, total=False):
    title: str


def late(movie: Movie, later: Later) -> None: ...


Later = dict[str, Movie]

print(get_type_hints(Stack))
print(get_type_hints(Stack, include_extras=True)["size"], get_type_hints(Stack.push))
print(get_type_hints(Node)["below"] == Node | None, late.__annotations__)
print(get_type_hints(late), get_args(Later), Movie.__optional_keys__)
print(Stack[int], Stack.__parameters__, typing.get_origin(Stack[str]))
