"""`to_be_awaited`: a coroutine function that says how it is called, if `await` was forgotten.

A coroutine that is used as if it were its result raises an `AttributeError` about coroutines, and
its `send` complains about its arguments. What `to_be_awaited` returns is a coroutine, too, for
`await`, tasks and time-outs; but used in another way it says what to write.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine, Generator
from types import TracebackType
from typing import Any, NoReturn, ParamSpec, TypeVar

__all__ = ["to_be_awaited"]

P = ParamSpec("P")
T = TypeVar("T")


def to_be_awaited(
    example: str,
) -> Callable[[Callable[P, Coroutine[Any, Any, T]]], Callable[P, Coroutine[Any, Any, T]]]:
    """Decorates a coroutine function.

    Args:
        example: the right call, for the error.
    """

    def decorate(
        function: Callable[P, Coroutine[Any, Any, T]],
    ) -> Callable[P, Coroutine[Any, Any, T]]:
        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, T]:
            return _Awaitable(function(*args, **kwargs), example)

        return call

    return decorate


class _Awaitable(Coroutine[Any, Any, T]):
    """A coroutine around another one."""

    __slots__ = ("_coroutine", "_example")

    def __init__(self, coroutine: Coroutine[Any, Any, T], example: str) -> None:
        self._coroutine = coroutine
        self._example = example

    def __await__(self) -> Generator[Any, Any, T]:
        return self._coroutine.__await__()

    def send(self, *values: Any) -> Any:
        if len(values) != 1:  # the user means `Session.send`
            raise TypeError(self._says())
        return self._coroutine.send(values[0])

    def throw(
        self,
        kind: type[BaseException] | BaseException,
        value: BaseException | object = None,
        traceback: TracebackType | None = None,
    ) -> Any:
        if isinstance(kind, BaseException):
            return self._coroutine.throw(kind)
        return self._coroutine.throw(kind, value, traceback)

    def close(self) -> None:
        self._coroutine.close()

    def __getattr__(self, name: str) -> Any:
        # What debuggers and tasks ask a coroutine: also whether it is a generator.
        if name.startswith(("cr_", "gi_", "ag_", "__")):
            return getattr(self._coroutine, name)
        raise AttributeError(self._says(), name=name, obj=self)

    def __aenter__(self) -> NoReturn:
        raise TypeError(self._says())

    def __aexit__(self, *_: object) -> NoReturn:
        raise TypeError(self._says())

    def __aiter__(self) -> NoReturn:
        raise TypeError(self._says())

    def _says(self) -> str:
        if inspect.getcoroutinestate(self._coroutine) == inspect.CORO_CREATED:
            self._coroutine.close()  # closed, so that Python does not warn of it, too
        return f"it is not open yet: `await` is missing, as in `{self._example}`"
