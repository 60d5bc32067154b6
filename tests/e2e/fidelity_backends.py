"""The servers that the fidelity tests compare."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from e2e.harness import PROGRAM

__all__ = ["ALONE", "BACKENDS", "CLUSTER", "UPLOAD", "ZEROMQ", "Backend"]

_MARIMO = (sys.executable, "-m", "marimo", "run")
_ISOLATED = "[tool.marimo.experimental]\nisolate_apps = true\n"


@dataclass(frozen=True)
class Backend:
    """One way to serve notebooks.

    Args:
        key: its name in test ids.
        title: its name in the table.
        program: the command that serves.
        env: variables to add to the environment.
        project: what `pyproject.toml` in the served folder says.
        on_cluster: whether apps run on the workers of a cluster.
        has_folder: whether the workers have the served folder.
    """

    key: str
    title: str
    program: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    project: str = ""
    on_cluster: bool = False
    has_folder: bool = True


_WITHOUT_US = {"MPKERNEL_DISABLE": "1", "UV": str(Path(sys.executable).with_name("uv"))}
_SENDING = {"MPKERNEL_CLUSTER_UPLOAD": "true"}
ALONE = Backend("alone", "marimo alone", _MARIMO, _WITHOUT_US)
ZEROMQ = Backend("zeromq", "marimo + ZeroMQ hosts", _MARIMO, _WITHOUT_US, _ISOLATED)
MPKERNEL = Backend("mpkernel", "marimo + mpkernel", PROGRAM)
CLUSTER = Backend("cluster", "mpkernel on a cluster", PROGRAM, on_cluster=True)
UPLOAD = Backend(
    "upload", "the same, `--cluster-upload`", PROGRAM, _SENDING, on_cluster=True, has_folder=False
)
BACKENDS = (ALONE, ZEROMQ, MPKERNEL, CLUSTER, UPLOAD)
