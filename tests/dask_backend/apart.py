"""What only the machine of a worker has, of the workers that `machines` starts."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dask_backend.machines import TEMPORARY, Machines
from pythons import OWN

__all__ = ["on_machine", "python_there", "shared_folder", "there"]

_TESTS = Path(__file__).parents[1]


@contextmanager
def shared_folder() -> Iterator[Path]:
    """A folder that the server and the workers have, as on a shared file system."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        assert not folder.startswith(TEMPORARY)
        yield Path(folder)


def on_machine(cluster: Machines, *command: str, number: int = 0) -> str:
    """What a command prints that runs on the machine of a worker, in the worker's folder."""
    # The root too: that of a mount namespace is not the one in which tests run after `chroot`.
    inside = ["nsenter", "--mount", "--root", "--wd", f"--target={cluster.nannies[number].pid}"]
    return subprocess.run(
        [*inside, *command],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(_TESTS)},
    ).stdout.strip()


def there(cluster: Machines, program: str, number: int = 0) -> str:
    """What a program of Python prints that runs on the machine of a worker."""
    return on_machine(cluster, sys.executable, "-c", program, number=number)


def python_there(cluster: Machines, name: str, *packages: str, python: str = OWN) -> str:
    """A Python in a virtual environment that only the worker's machine has."""
    folder = f"{TEMPORARY}/{name}"
    there(
        cluster,
        "from pathlib import Path; from pythons import make_environment;"
        f" make_environment({python!r}, Path({folder!r}), {packages!r})",
    )
    assert not os.path.exists(folder)
    return f"{folder}/bin/python"
