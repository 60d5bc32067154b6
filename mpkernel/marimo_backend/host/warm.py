"""What marimo's first kernel imports late, imported at once: a standby imports this module.

Only modules come of it: nothing is installed, no kernel is made.
"""

from __future__ import annotations

import importlib
import logging

import mpkernel.marimo_backend.host.marimo_kernel  # noqa: F401 (for the standby)
from mpkernel.marimo_backend import seam

logger = logging.getLogger(__name__)


def _warm() -> None:
    for name in seam.HOST_NAMES:
        seam.host(name)
    for name in seam.LATE_MODULES:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            logger.debug("%s", error)
    seam.host("create_default_hooks")()
    # The extensions of Markdown are imported, and their patterns compiled, by the first text.
    seam.host("md")("")


_warm()
