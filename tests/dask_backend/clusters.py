"""Clusters of Dask for tests, on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil
from distributed import Client, LocalCluster
from shared_children import SHARED

__all__ = ["a_cluster", "share"]


@contextmanager
def a_cluster(workers: int = 2, *, threads: int = 100, **arguments: Any) -> Iterator[Client]:
    """A scheduler in this process, and workers in processes of their own, each with a nanny.

    Args:
        workers: how many workers.
        threads: how many processes of apps each has room for.
        arguments: others of `LocalCluster`.
    """
    with (
        LocalCluster(
            n_workers=workers, threads_per_worker=threads, dashboard_address=None, **arguments
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        share(client, workers)
        yield client


def share(client: Client, workers: int = 2) -> None:
    """The workers live on after the test, also those that nannies have started anew in it."""
    client.wait_for_workers(workers)
    SHARED.update(psutil.Process(pid) for pid in client.run(os.getpid).values())
    SHARED.update(psutil.Process(pid) for pid in client.run(os.getpid, nanny=True).values())
