"""Processes that several tests share. What ends with each test is looked for without them."""

from __future__ import annotations

import psutil

__all__ = ["SHARED"]

SHARED: set[psutil.Process] = set()
"""Whoever starts such processes adds them here, and ends them."""
