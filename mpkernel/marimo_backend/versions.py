"""The versions of marimo with which mpkernel works: the names in `seam` were checked for these."""

from __future__ import annotations

import importlib.metadata
import logging
import os
import re

from mpkernel.errors import UnsupportedMarimo

__all__ = ["ANY_VERSION", "SUPPORTED", "check_marimo", "is_supported"]

logger = logging.getLogger(__name__)

SUPPORTED = ((0, 23, 8), (0, 26, 0))
"""The first version that is supported, and the first that is not."""

ANY_VERSION = "MPKERNEL_ALLOW_ANY_MARIMO"
"""Environment variable with which an unsupported version is a warning instead of an error."""


def check_marimo() -> str:
    """The version of the marimo that is installed. With `ANY_VERSION` in the environment, an
    unsupported version is only a warning.

    Raises:
        UnsupportedMarimo: marimo is not installed, or its version is outside `SUPPORTED`.
    """
    try:
        version = importlib.metadata.version("marimo")
    except importlib.metadata.PackageNotFoundError:
        raise UnsupportedMarimo(
            "marimo is not installed", remedy="pip install 'mpkernel[marimo]'"
        ) from None
    if is_supported(version):
        return version
    first, end = SUPPORTED
    what = (
        f"marimo {version} is installed; mpkernel works with {_dotted(first)} up to, but not"
        f" including, {_dotted(end)}"
    )
    if os.environ.get(ANY_VERSION, "") in ("", "0"):
        raise UnsupportedMarimo(
            what,
            remedy=f"pip install 'marimo>={_dotted(first)},<{_dotted(end[:2])}', or set"
            f" {ANY_VERSION}=1 to try",
        )
    logger.warning("%s; %s is set, so this version is used all the same", what, ANY_VERSION)
    return version


def is_supported(version: str) -> bool:
    """Whether a version of marimo is within `SUPPORTED`."""
    first, end = SUPPORTED
    numbers = [int(part) for part in re.findall(r"\d+", version)]
    return first <= tuple([*numbers, 0, 0][:3]) < end


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(str(part) for part in version)
