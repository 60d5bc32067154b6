"""`Cleaner`: the program of a real system that cleans `/tmp` up, for which all is too old."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

__all__ = ["Cleaner"]

_PROGRAM = "systemd-tmpfiles"


class Cleaner:
    """Cleans one folder up.

    Args:
        folder: which.
        settings: where its settings are written.

    Raises:
        AssertionError: this needs systemd, and the superuser.
    """

    def __init__(self, folder: Path, settings: Path) -> None:
        assert shutil.which(_PROGRAM) is not None, f"{_PROGRAM} is missing: install systemd"
        assert os.geteuid() == 0, f"{_PROGRAM} removes folders for the superuser only"
        self.folder = folder
        self._settings = settings
        settings.write_text(f"q {folder} 0700 - - 1us\n")

    def clean(self) -> list[str]:
        """Remove all that nobody keeps; give what is left."""
        probe = self.folder / "probe"
        probe.touch()
        while time.time() - probe.stat().st_ctime < 0.01:  # the file system's clock is coarse
            continue
        subprocess.run([_PROGRAM, "--clean", str(self._settings)], check=True)
        assert not probe.exists()
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*"))
