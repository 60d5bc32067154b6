"""A process on this machine is all that the server relies on, see `process_contract`."""

from __future__ import annotations

import pytest
from server.process_contract import ProcessContract

from mpkernel.server.launching.local_launcher import LocalLauncher


class TestLocalProcess(ProcessContract):
    @pytest.fixture
    def launcher(self) -> LocalLauncher:
        return LocalLauncher()
