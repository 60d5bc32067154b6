"""The checks of a cluster on which apps are to run: its address, and each of its workers.

What talks to the cluster is in `dask_backend`, and is known here by its name only.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Mapping
from urllib.parse import urlsplit

import msgspec
from msgspec.structs import replace

from mpkernel.doctor.abilities import Abilities, Wanted, confinement_line, uv_line
from mpkernel.doctor.lines import Line, fail, ok, warn
from mpkernel.program import resolve

__all__ = ["TriedCluster", "TriedWorker", "address_line", "cluster_lines"]

_TRIES = "mpkernel.dask_backend.trying:tried"
_PLAIN = "tcp://"
_LOOPBACK = "localhost"


class TriedWorker(msgspec.Struct, frozen=True, kw_only=True):
    """The trial of a process on one worker.

    Attributes:
        address: the worker's.
        versions: what it has; empty when that is not known.
        abilities: what its machine has that only some apps need; None when that is not known.
        took_s: from the launch to the answer.
        error: why there was no answer; None when there was.
        remedy: what to do about it.
    """

    address: str
    versions: Mapping[str, str]
    abilities: Abilities | None = None
    took_s: float = 0.0
    error: str | None = None
    remedy: str = ""


class TriedCluster(msgspec.Struct, frozen=True, kw_only=True):
    """The trial of a cluster.

    Attributes:
        versions: what the server has, and each worker must have.
        workers: the trial of each.
        error: why no worker was tried; None when they were.
        remedy: what to do about it.
    """

    versions: Mapping[str, str]
    workers: tuple[TriedWorker, ...] = ()
    error: str | None = None
    remedy: str = ""


def cluster_lines(address: str, wanted: Wanted) -> list[Line]:
    """Try a process on each worker of the cluster.

    Args:
        address: see the setting `cluster`.
        wanted: what the settings ask of the workers.

    Returns:
        Lines about the cluster, and up to three about each worker: whether a process runs there,
        whether uv makes environments, and whether apps can be confined.
    """
    try:
        tried: Callable[[str], TriedCluster] = resolve(_TRIES)
    except ImportError as error:
        return [
            fail(
                "cluster",
                f"{address} can be used only with Dask: {error}",
                "pip install 'mpkernel[dask]'",
            )
        ]
    return [address_line(address), *_lines_of(address, tried(address), wanted)]


def address_line(address: str) -> Line:
    """The line about who else can speak on the way to a cluster."""
    if address.startswith(_PLAIN) and not _is_loopback(address):
        return warn(
            "encryption",
            f"{address} is not encrypted: whoever can speak to the cluster, or change what is sent,"
            " runs code on its workers and in the server",
            "use tls:// with certificates of your own, or a private network: mpkernel docs cluster",
        )
    return ok("encryption", f"{address} is encrypted, or on this machine")


def _lines_of(address: str, cluster: TriedCluster, wanted: Wanted) -> list[Line]:
    if cluster.error is not None:
        return [fail("cluster", cluster.error, cluster.remedy)]
    if not cluster.workers:
        return [
            warn("cluster", f"{address} has no worker now", "start some, or let the cluster grow")
        ]
    own = ", ".join(f"{name} {version}" for name, version in cluster.versions.items())
    return [
        ok("cluster", f"{address} has workers: {len(cluster.workers)}; the server has {own}"),
        *(line for worker in cluster.workers for line in _lines_of_worker(worker, wanted)),
    ]


def _lines_of_worker(worker: TriedWorker, wanted: Wanted) -> Iterator[Line]:
    yield replace(_trial_line(worker), worker=worker.address)
    if worker.abilities is None:
        return
    for line in (uv_line(worker.abilities, wanted), confinement_line(worker.abilities, wanted)):
        yield replace(
            line,
            says=f"{worker.address}: {line.says}",
            remedy=line.remedy and f"on that machine: {line.remedy}",
            worker=worker.address,
        )


def _trial_line(worker: TriedWorker) -> Line:
    has = ", ".join(f"{name} {version}" for name, version in worker.versions.items())
    if worker.error is not None:
        return fail("worker", worker.error, worker.remedy)
    return ok(
        "worker",
        f"{worker.address}: a process was started and answered after"
        f" {worker.took_s * 1000:.0f} ms; it has {has}",
    )


def _is_loopback(address: str) -> bool:
    host = urlsplit(address).hostname or ""
    try:
        return host == _LOOPBACK or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
