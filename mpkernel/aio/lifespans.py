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
"""Makes the async context manager for one application. What it yields is not looked at."""


class Lifespans(Generic[T]):
    """A lifespan made of others: entered in their order, exited in reverse.

    An error while entering exits those already entered. An error or a cancellation, of entering or
    of the time between, reaches every lifespan and then the caller: a lifespan that keeps it to
    itself does not keep it from the others or from the server, which shuts down by cancelling.

    The idea is marimo's class of that name; that cancellation goes through is from its pull request
    9552.

    Args:
        lifespans: in the order of entering; taken over at once.
    """

    def __init__(self, lifespans: Iterable[Lifespan[T]]) -> None:
        self._lifespans = tuple(lifespans)

    def __repr__(self) -> str:
        return f"Lifespans({list(self._lifespans)!r})"

    def __call__(self, app: T) -> AbstractAsyncContextManager[None]:
        """Return a context manager, for one use, that holds all lifespans of ``app`` open.

        Raises, on entering and on exiting, whatever a lifespan raises there; of several errors the
        last, with the others as its context.
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
        # Only reached with a failure if a lifespan has suppressed it.
        if failure is not None:
            raise failure
