"""A session of the embedded kernel comes back in the next server process."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from waiting import until

SERVER = Path(__file__).parent / "embedded_server.py"
APP = """\
# %%
import helper
number = 1
# %%
print(f"number {number} of {helper.NAME}")
"""


class EmbeddedServer:
    """A server process, and the messages that its one session received."""

    def __init__(self, folder: Path, session_id: str = "mine", authority: str = "") -> None:
        self.process = subprocess.Popen(
            [
                *(sys.executable, str(SERVER)),
                *(str(folder / "sessions"), str(folder / "app.py"), session_id, authority),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.messages: list[Any] = []
        self.wait_for(lambda message: message == "open")

    def send(self, what: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()

    def wait_for(self, condition: Callable[[Any], bool]) -> None:
        """Read messages up to one for which this holds."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.messages.append(json.loads(line))
            if condition(self.messages[-1]):
                return
        pytest.fail(f"it never came: {self.messages}", pytrace=False)

    def wait_for_text(self, text: str) -> None:
        self.wait_for(
            lambda message: isinstance(message, dict) and text in str(message.get("text"))
        )

    @property
    def restarted(self) -> list[Any]:
        return [
            one for one in self.messages if isinstance(one, dict) and one["type"] == "restarted"
        ]

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def end(self) -> None:
        self.process.communicate(timeout=60)


@contextmanager
def embedded(
    folder: Path, session_id: str = "mine", authority: str = ""
) -> Iterator[EmbeddedServer]:
    server = EmbeddedServer(folder, session_id, authority)
    try:
        yield server
    finally:
        server.kill()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "helper.py").write_text("NAME = 'old'\n")
    return tmp_path


def stored(folder: Path, server: EmbeddedServer) -> None:
    """Run the app, set a value, and wait until it is on the disk."""
    server.send("run")
    server.wait_for_text("number 1 of old")
    server.send(["values", {"number": 77}])
    server.wait_for_text("number 77 of old")
    set_mark(folder, server, "on the disk")


def set_mark(folder: Path, server: EmbeddedServer, mark: str) -> None:
    """Set a value, and wait until it is on the disk."""
    server.send(["values", {"mark": mark}])
    until(
        lambda: any(
            mark.encode() in path.read_bytes()
            for path in (folder / "sessions").glob("*-*/*")
            if path.suffix != ".new"  # it gets another name while it is read
        )
    )


def is_done(message: Any) -> bool:
    return isinstance(message, dict) and message["type"] == "done"


@pytest.mark.parametrize("end", [EmbeddedServer.kill, EmbeddedServer.end])
def test_it_comes_back_with_its_values_and_the_files_as_they_are_now(
    folder: Path, end: Callable[[EmbeddedServer], None]
) -> None:
    with embedded(folder) as server:
        stored(folder, server)
        server.send(["execute", "left = 'out'"])
        server.wait_for(lambda message: is_done(message) and message["cell"] == "extra")
        set_mark(folder, server, "and more")
        end(server)
    (folder / "helper.py").write_text("NAME = 'new'\nEXTRA = 1\n")
    with embedded(folder) as server:
        server.wait_for_text("number 77 of new")
        (restarted,) = server.restarted
        assert restarted["reason"] == "the server of app.py was restarted"
        assert restarted["lost"] == [
            "what was done by code that was executed outside the app's cells"
        ]
        assert not restarted["guilty"]
        server.send(["values", {"number": 78}])
        server.wait_for_text("number 78 of new")


def test_who_closes_it_has_a_new_one_next_time(folder: Path) -> None:
    with embedded(folder) as server:
        stored(folder, server)
        server.send("close")
        server.wait_for(lambda message: message == "closed")
        server.end()
    with embedded(folder) as server:
        server.send("run")
        server.wait_for_text("number 1 of old")
        assert not server.restarted


@pytest.mark.parametrize(("session_id", "authority"), [("mine", "eve"), ("other", "ann")])
def test_a_stranger_gets_a_new_one(folder: Path, session_id: str, authority: str) -> None:
    with embedded(folder, "mine", "ann") as server:
        stored(folder, server)
        server.kill()
    with embedded(folder, session_id, authority) as server:
        server.send("run")
        server.wait_for_text("number 1 of old")
        assert not server.restarted
