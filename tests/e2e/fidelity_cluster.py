"""The cluster of the fidelity tests: each worker has a machine of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dask_backend.machines import machines
from dask_backend.networks import network

__all__ = ["cluster"]

_WORKERS = 3


@contextmanager
def cluster(delay_s: float) -> Iterator[str]:
    """Yields the address of a scheduler that has three workers.

    Args:
        delay_s: how many seconds each packet takes between the server, the scheduler and the
            workers. A round trip takes twice as long.
    """
    with network(1 + _WORKERS) as cables, machines(_WORKERS, cables) as processes:
        cables.delay(delay_s)
        yield processes.address
