"""What the exit status of a process says about its death."""

from __future__ import annotations

import pytest

from mpkernel.server.supervision.deaths import Reason, reason_of
from mpkernel.server.supervision.exit_status import ExitStatus


class TestReasons:
    @pytest.mark.parametrize(
        ("code", "out_of_memory", "reason"),
        [
            (3, False, Reason.EXIT),
            (-11, False, Reason.CRASH),
            (-6, True, Reason.CRASH),
            (-9, False, Reason.KILLED),
            (-9, True, Reason.OUT_OF_MEMORY),
            (-15, True, Reason.KILLED),
            (None, False, Reason.UNKNOWN),
        ],
    )
    def test_the_exit_status_tells(
        self, code: int | None, out_of_memory: bool, reason: Reason
    ) -> None:
        assert reason_of(ExitStatus(code), out_of_memory=out_of_memory) is reason

    def test_who_is_lost_with_a_worker_may_not_even_have_ended(self) -> None:
        status = ExitStatus(None, lost="its worker tcp://10.0.0.7:4711 (it was silent for 20 s)")
        assert reason_of(status, out_of_memory=False) is Reason.LOST
