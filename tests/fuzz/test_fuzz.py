"""What a peer should not send is accepted, or ends in `ProtocolError`: nothing raises anything
else, hangs, or grows. A small run of `campaign`, with what longer runs have found."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.campaign import TARGETS
from tests.fuzz.watching import FOUND

_FRAMES = int(os.environ.get("MPKERNEL_TEST_FUZZ_FRAMES", "20000"))
_SEED = os.environ.get("MPKERNEL_TEST_FUZZ_SEED", "1")
_LEAST_FRAMES_A_SECOND = 100


@pytest.mark.timeout(600 + _FRAMES // _LEAST_FRAMES_A_SECOND)
@pytest.mark.parametrize("target", TARGETS)
def test_mutated_frames_are_taken_or_refused_and_leave_nothing(target: str) -> None:
    status, said = _campaign(target, "--frames", str(_FRAMES), "--seed", _SEED)
    assert status == 0, f"MPKERNEL_TEST_FUZZ_SEED={_SEED}\n{said}"
    assert "PROTOCOL: " in said  # some were refused
    assert "  taken" in said  # and some were not


def test_what_failed_once_does_not_again() -> None:
    paths = sorted(FOUND.glob("*.bin"))
    status, said = _campaign("replay", *map(str, paths))
    assert status == 0, said
    assert said.count(".bin: ") == len(paths) > 0


def test_an_input_that_fails_is_kept_and_fails_again(tmp_path: Path) -> None:
    """The harness sees what it looks for: here, a dispatcher that raises what it should not."""
    broken = "import mpkernel.wire.messages as m; m.UNDECODABLE = (); import sys; " + (
        "from tests.fuzz.campaign import main; sys.exit(main())"
    )
    command = [sys.executable, "-c", broken]
    status, said = _run([*command, "host", "--folder", str(tmp_path), "--breaking", "0.1"])
    assert status != 0
    (path,) = tmp_path.glob("host-*.bin")
    assert str(path) in said
    status, said = _run([*command, "replay", str(path)])
    assert status != 0, said
    status, said = _campaign("replay", str(path))
    assert status == 0, said


def _campaign(*arguments: str) -> tuple[int, str]:
    return _run([sys.executable, "-m", "tests.fuzz.campaign", *arguments])


def _run(command: list[str]) -> tuple[int, str]:
    done = subprocess.run(
        command,
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout
