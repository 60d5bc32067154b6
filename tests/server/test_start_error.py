"""The error when the operating system refuses to start a process."""

from __future__ import annotations

import resource

import pytest

from mpkernel.errors import HostStartError
from mpkernel.server.launching.local_launcher import LocalLauncher
from mpkernel.server.launching.process import ProcessToLaunch


def test_a_start_without_descriptors_names_the_app_and_the_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        with pytest.raises(HostStartError) as refused:
            LocalLauncher().launch(ProcessToLaunch("mpkernel sales.py"))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert "mpkernel sales.py" in str(refused.value)
    assert "may have 3 descriptors" in str(refused.value)
