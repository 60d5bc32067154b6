"""`mpkernel exec` of an app, for tests."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

Write = Callable[..., Path]
EXEC = (sys.executable, "-m", "mpkernel", "exec")


def execute(app: Path | str, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    cwd = app.parent if isinstance(app, Path) else None
    return subprocess.run(
        [*EXEC, app, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=240,
        cwd=cwd,
        check=False,
    )
