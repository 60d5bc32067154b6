"""The defaults of settings for pools that serve marimo. Imports nothing of marimo."""

from __future__ import annotations

from mpkernel.settings import Settings

__all__ = ["DEFAULTS"]

DEFAULTS = Settings(
    max_frame_bytes=1024 * 1024 * 1024,  # marimo itself does not limit what a page uploads
    standby=1,
    standby_imports=("mpkernel.marimo_backend.host.warm",),
    snapshot=True,
    control=True,
    crash_reports=100,
    session_store=True,
)
