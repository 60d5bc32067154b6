"""The server unpickles nothing that a host sends: servers whose unpickling is broken still do all
their work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from server.operators import user_directories
from waiting import LONG_PATIENCE_S

TESTS = Path(__file__).parents[1]


@pytest.fixture
def user(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with user_directories(monkeypatch) as folder:
        yield folder


def mpkernel(*arguments: str) -> str:
    command = [sys.executable, "-m", "mpkernel", *arguments]
    # What it says on standard error is shown where it fails.
    return subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=True, timeout=LONG_PATIENCE_S
    ).stdout


def test_a_server_that_cannot_unpickle_does_all_that_servers_do(user: Path) -> None:
    record = user / "record"
    server = subprocess.Popen(
        [sys.executable, str(TESTS / "server" / "unpickling_server.py"), str(user), str(record)],
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        stdout=subprocess.PIPE,
        text=True,
    )
    deadline = threading.Timer(LONG_PATIENCE_S, server.kill)
    deadline.start()
    try:
        assert server.stdout is not None
        lines = (line.strip() for line in server.stdout if not line.startswith("["))
        assert next(lines) == "ready"
        [status] = json.loads(mpkernel("status", "--json"))["servers"]
        assert status["pid"] == server.pid
        mpkernel("restart", "notebook.py")
        assert next(lines) == "restarted"
        mpkernel("drain", "echo.py")
        assert "notebook.py" in mpkernel("crashes")
        mpkernel("stop")
        found = json.loads(next(lines))
        assert server.wait(LONG_PATIENCE_S) == 0
    finally:
        deadline.cancel()
        server.kill()
        server.communicate()
    assert record.read_text() == ""
    assert found["file"] == "content"
    assert "SIGKILL" in found["restarted"]
    assert "by the server's operator" in found["restarted by"]
    assert "is not a management message" in found["pickle"]


@pytest.mark.parametrize(
    "unpickles",
    [
        "pickle.loads(pickle.dumps(print))",
        "pickle.Unpickler(io.BytesIO(b'N.')).load()",
        "_pickle.load(io.BytesIO(b'N.'))",
        "imported_before(b'N.')",
        "multiprocessing.reduction.ForkingPickler.loads(b'N.')",
        "ours.send(1), theirs.recv()",
    ],
)
def test_what_would_unpickle_is_seen(tmp_path: Path, unpickles: str) -> None:
    record = tmp_path / "record"
    code = (
        "import _pickle, io, multiprocessing, multiprocessing.reduction, pickle, sys\n"
        "from pickle import loads as imported_before\n"
        "from no_unpickling import forbid_unpickling\n"
        "ours, theirs = multiprocessing.Pipe()\n"
        f"forbid_unpickling({str(record)!r})\n"
        f"try: {unpickles}\n"
        "except AssertionError: sys.exit(7)\n"
    )
    env = {**os.environ, "PYTHONPATH": str(TESTS)}
    assert subprocess.run([sys.executable, "-c", code], env=env).returncode == 7
    assert record.read_text().startswith("unpickled pid=")
