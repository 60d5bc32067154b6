"""Several lifespans around one application, as one.

A lifespan is what ASGI servers run around the time they serve: an async context manager made for
the application.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Generic, TypeAlias, TypeVar

__all__ = ["Lifespan", "Lifespans"]

T = TypeVar("T")

Lifespan: TypeAlias = Callable[[T], AbstractAsyncContextManager[object]]
"""Makes the async context manager for one application. The value that it yields is ignored."""


class Lifespans(Generic[T]):
    """A lifespan made of others: entered in their order, exited in reverse.

    If entering one of them fails, those already entered are exited. An error or a cancellation,
    while entering or between entering and exiting, is raised in every lifespan and then in the
    caller, even if one of the lifespans suppresses it. The server shuts down by cancelling, so it
    must see the cancellation.

    The idea is marimo's class of that name; that cancellation goes through is from its pull request
    9552.

    Args:
        lifespans: in the order of entering. The iterable is copied at once.
    """

    def __init__(self, lifespans: Iterable[Lifespan[T]]) -> None:
        self._lifespans = tuple(lifespans)

    def __repr__(self) -> str:
        return f"Lifespans({list(self._lifespans)!r})"

    def __call__(self, app: T) -> AbstractAsyncContextManager[None]:
        """Return a context manager, for one use, that holds all lifespans of ``app`` open.

        Entering and exiting raise what a lifespan raises there. Of several errors the last one is
        raised, with the others as its context.
        """
        return self._around(app)

    @asynccontextmanager
    async def _around(self, app: T) -> AsyncIterator[None]:
        failure: BaseException | None = None
        async with AsyncExitStack() as stack:
            try:
                for lifespan in self._lifespans:
                    await stack.enter_async_context(lifespan(app))
                yield
            except BaseException as error:
                failure = error
                raise
        # If there was a failure, this line is reached only when a lifespan has suppressed it.
        if failure is not None:
            raise failure
