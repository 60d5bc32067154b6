"""`Setup`, as the settings and the app make it."""

from __future__ import annotations

from collections.abc import Sequence

from mpkernel.settings import Settings
from mpkernel.wire.messages import FileStorage, Setup, Stopping

__all__ = ["setup_of"]


def setup_of(settings: Settings, app: str, argv: Sequence[str]) -> Setup:
    """What a host is told first.

    Args:
        settings: see `Settings`.
        app: absolute path of the app's file.
        argv: what `sys.argv` shall hold after it.
    """
    return Setup(
        app=app,
        argv=[app, *argv],
        max_frame_bytes=settings.max_frame_bytes,
        host_window_bytes=settings.host_window_bytes,
        files=FileStorage(
            kind=settings.file_storage,
            fallback=settings.file_fallback,
            session_quota_bytes=settings.session_files_bytes,
            quota_bytes=settings.files_bytes,
            recycled_bytes=settings.recycled_files_bytes,
            recycled_age_s=settings.recycled_files_age_s,
        ),
        stopping=Stopping(
            interrupt_grace_s=settings.interrupt_grace_s,
            max_abandoned=settings.max_abandoned,
        ),
    )
