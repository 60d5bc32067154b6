"""`Cleaner`: the program of a real system that cleans `/tmp` up, for which all is too old."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

__all__ = ["Cleaner", "needs_a_cleaner"]

_PROGRAM = shutil.which("systemd-tmpfiles")

needs_a_cleaner = pytest.mark.skipif(
    _PROGRAM is None or os.geteuid() != 0, reason="it needs systemd-tmpfiles, and the superuser"
)


class Cleaner:
    """Cleans one folder up.

    Args:
        folder: which.
        settings: where its settings are written.
    """

    def __init__(self, folder: Path, settings: Path) -> None:
        self.folder = folder
        self._settings = settings
        settings.write_text(f"q {folder} 0700 - - 1us\n")

    def clean(self) -> list[str]:
        """Remove all that nobody keeps; give what is left."""
        probe = self.folder / "probe"
        probe.touch()
        while time.time() - probe.stat().st_ctime < 0.01:  # the file system's clock is coarse
            continue
        assert _PROGRAM is not None
        subprocess.run([_PROGRAM, "--clean", str(self._settings)], check=True)
        assert not probe.exists()
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*"))
