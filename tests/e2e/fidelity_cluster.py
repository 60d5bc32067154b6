"""The cluster of the fidelity tests: each worker has a machine of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from dask_backend.machines import machines
from dask_backend.networks import network

__all__ = ["cluster"]

_WORKERS = 3


@contextmanager
def cluster(delay_s: float) -> Iterator[str]:
    """Yields the address of a scheduler that has three workers.

    Args:
        delay_s: how many seconds each packet takes between the server, the scheduler and the
            workers, which are in a network of their own then, without the internet. A round trip
            takes twice as long. 0: there is no network between them. Otherwise this machine has
            one more network device meanwhile.
    """
    with ExitStack() as stack:
        cables = stack.enter_context(network(1 + _WORKERS, is_apart=False)) if delay_s else None
        processes = stack.enter_context(machines(_WORKERS, cables))
        if cables is not None:
            cables.delay(delay_s)
        yield processes.address
