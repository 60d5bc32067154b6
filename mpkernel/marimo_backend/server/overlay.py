"""The packages that marimo's kernels need in the environment of an app: marimo itself, as the
server has it."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util

import msgspec

from mpkernel.errors import UnsupportedMarimo

__all__ = ["left_out", "requirements"]

_LIBZMQ = "pyzmq"


class _DirectUrl(msgspec.Struct):
    """The origin of a package that was not installed from an index (PEP 610)."""

    url: str


@functools.cache
def requirements() -> tuple[str, ...]:
    """The requirement of marimo: the same version, from the same place. Commands to a kernel are
    marimo's own objects, which no other version need understand.

    Raises:
        UnsupportedMarimo: marimo is imported, but not as an installed package.
    """
    try:
        marimo = importlib.metadata.distribution("marimo")
    except importlib.metadata.PackageNotFoundError:
        raise UnsupportedMarimo(
            "marimo is imported here, but not as an installed package: no environment can get it",
            remedy="pip install 'mpkernel[marimo]'",
        ) from None
    origin = marimo.read_text("direct_url.json")
    if origin is not None:
        return (f"marimo @ {msgspec.json.decode(origin, type=_DirectUrl).url}",)
    return (f"marimo=={marimo.version}",)


@functools.cache
def left_out() -> tuple[str, ...]:
    """Packages that marimo requires, but its kernels do not need: libzmq (`pyzmq`), if the server
    has none either."""
    return () if importlib.util.find_spec("zmq") is not None else (_LIBZMQ,)
