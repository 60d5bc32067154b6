"""`parse`: the syntax tree of code, also while other threads of the process parse.

Up to Python 3.12, all threads of an interpreter count how deep a tree is in one place. If a thread
gets the interpreter's lock while another one makes a tree, which happens when garbage is collected
then, both counts are wrong, and the second one gets a `SystemError` for code that is right. Source:
CPython's issue 106905.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

__all__ = ["again_if_disturbed", "parse"]

_TRIES = 20
_OF_ANOTHER_THREAD = "recursion depth mismatch"

P = ParamSpec("P")
T = TypeVar("T")


def again_if_disturbed(function: Callable[P, T]) -> Callable[P, T]:
    """A function that parses, called again if another thread has disturbed it."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        for tries_left in reversed(range(_TRIES)):
            try:
                return function(*args, **kwargs)
            except SystemError as error:
                if not tries_left or _OF_ANOTHER_THREAD not in str(error):
                    raise
        raise AssertionError("the last try returns or raises")

    return call


@again_if_disturbed
def parse(code: str, filename: str = "<unknown>", *, flags: int = 0) -> ast.Module:
    """The syntax tree of code.

    Args:
        code: the source.
        filename: the file that errors name.
        flags: those of `__future__` imports, for `compile`.

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError: as `compile`.
    """
    tree = compile(code, filename, "exec", flags | ast.PyCF_ONLY_AST, dont_inherit=True)
    assert isinstance(tree, ast.Module)
    return tree
