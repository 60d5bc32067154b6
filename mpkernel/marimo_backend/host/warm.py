"""Imports at once what marimo's first kernel would import late, or after its first run. A
standby imports this module.

It only imports: nothing is installed, and no kernel is made.
"""

from __future__ import annotations

import importlib
import logging

import mpkernel.marimo_backend.carried
import mpkernel.marimo_backend.host.marimo_kernel  # noqa: F401 (for the standby)
from mpkernel.marimo_backend import seam
from mpkernel.marimo_backend.host.entry_points import read_entry_points
from mpkernel.marimo_backend.url_pattern import compile_url_pattern_late

logger = logging.getLogger(__name__)


def _warm() -> None:
    compile_url_pattern_late()
    for name in seam.HOST_NAMES:
        seam.host(name)
    for name in seam.LATE_MODULES:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            logger.debug("%s", error)
    seam.host("create_default_hooks")()
    # The first text imports the extensions of Markdown, and compiles their patterns.
    seam.host("md")("")
    read_entry_points()


_warm()
