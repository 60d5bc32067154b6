"""What tests need to run something as another user of this machine, who has few rights."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

__all__ = ["NOBODY", "as_nobody", "require_root"]

NOBODY = 65534
_PATIENCE_S = 240
_BECOME = """
import os, sys
os.setgroups([])
os.setgid({nobody})
os.setuid({nobody})
try:
    os.setuid(0)
except PermissionError:
    pass
else:
    sys.exit("still root")
"""


def require_root() -> None:
    """Fail where this is not run by root, as CI's tests are."""
    if os.geteuid() != 0:
        pytest.fail("this needs root, to be another user: run it as root", pytrace=False)


def as_nobody(imports: str, code: str, *arguments: str) -> str:
    """Run Python code as the user nobody. Returns what it prints.

    Args:
        imports: what comes before that: nobody may not be able to read the interpreter's modules.
        code: what is run then.
        arguments: its `sys.argv[1:]`.
    """
    ran = subprocess.run(
        [sys.executable, "-c", imports + _BECOME.format(nobody=NOBODY) + code, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=_PATIENCE_S,
        cwd="/",
    )
    return ran.stdout
