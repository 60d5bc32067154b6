"""What pools for marimo have where nothing else is set. Imports nothing of marimo."""

from __future__ import annotations

from mpkernel.settings import Settings

__all__ = ["DEFAULTS"]

DEFAULTS = Settings(
    standby=1,
    standby_imports=("mpkernel.marimo_backend.warm",),
    snapshot=True,
    control=True,
    crash_reports=100,
)
