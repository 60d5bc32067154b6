"""`Served`: a server program (`server.py`) in its own process, as a test sees it."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, TypeVar

import msgspec
import psutil
from waiting import PATIENCE_S, until

from mpkernel.server.operations.snapshot import ServerSnapshot

PROGRAM = Path(__file__).with_name("server.py")

STORE = """
from mpkernel.kernel.context import current_place
files = current_place().session.kernel.files
file = files.create(bytes({size}), media_type="text/plain")
print(file.key)
"""
"""A cell that makes a virtual file, and prints its key."""


T = TypeVar("T")


class Refused(Exception):
    """The server answered with an error.

    Attributes:
        kind: the name of its class.
        what: its text.
        remedy: what it says can be done.
    """

    def __init__(self, error: str, what: str, remedy: str) -> None:
        super().__init__(f"{error}: {what}")
        self.kind, self.what, self.remedy = error, what, remedy


class Served:
    """A server for the length of a `with` block, which ends it in order and looks for what it left.

    Args:
        folder: where it keeps what it writes: `run`, `state`, `tmp` in it. Its path is short: that
            of a socket must be.
        before: the beginning of the command, for a namespace or another user.
        env: variables that differ; a value of None removes one.
        settings: of its pool.
        tidy: whether its log must have no traceback.

    Attributes:
        apps: the folder of its apps.
    """

    apps = PROGRAM.with_name("apps")

    def __init__(
        self,
        folder: Path,
        *,
        before: Sequence[str] = (),
        env: Mapping[str, str | None] | None = None,
        tidy: bool = True,
        **settings: Any,
    ) -> None:
        self._folder = folder
        self._log_path = folder / "log"
        self._tidy = tidy
        self._numbers = itertools.count(1)
        self._answers: dict[int, Future[Any]] = {0: Future()}
        wanted = {"snapshot": True, "control": True, "crash_reports": 10, **settings}
        given: dict[str, str | None] = {**os.environ, **directories(folder), **(env or {})}
        with self._log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [*before, sys.executable, str(PROGRAM), json.dumps(wanted)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={name: value for name, value in given.items() if value is not None},
                cwd=folder,
            )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def __enter__(self) -> Self:
        try:
            self.pid: int = self._answers[0].result(PATIENCE_S)
        except BaseException:
            self._kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: object
    ) -> None:
        try:
            if error is None:
                self.end()
                self._assert_tidy()
            else:
                error.add_note(f"The server's log:\n{self.log}")
        finally:
            self._kill()

    @property
    def log(self) -> str:
        """What the server and its apps have written until now."""
        return self._log_path.read_text(errors="replace")

    def end(self) -> None:
        """Have the server leave in order, and wait for its end."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            code = self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it has not left:\n{self.log}") from None
        assert code == 0, self.log

    def later(self, do: str, **given: Any) -> Future[Any]:
        """Have the server do something. Its answer comes later."""
        number = next(self._numbers)
        answer = self._answers[number] = Future()
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"number": number, "do": do, **given}).encode() + b"\n")
        self.process.stdin.flush()
        return answer

    def ask(self, do: str, **given: Any) -> Any:
        """Have it do something; give what came of it.

        Raises:
            Refused: it could not.
        """
        return self.later(do, **given).result(PATIENCE_S)

    def refused(self, do: str, **given: Any) -> Refused:
        """Have the server do something that it must refuse."""
        try:
            result = self.ask(do, **given)
        except Refused as refusal:
            return refusal
        raise AssertionError(f"{do} was not refused, but gave {result}")

    def says(self, name: str, code: str) -> str:
        """What code prints, which must go well, once, in the same process."""
        found = self.ask("execute", name=name, code=code)
        assert (found["outcome"], found["failures"], found["restarted"]) == ("ok", [], []), found
        return str(found["text"])

    @contextmanager
    def steadily(self) -> Iterator[None]:
        """Messages go to and fro meanwhile: none is lost, none comes twice."""
        self.ask("begin")
        before = self.ask("exchanged")
        yield
        assert self.ask("exchanged") > before

    def snapshot(self) -> ServerSnapshot:
        """What operators see of the server."""
        directory = Path(f"/proc/{self.pid}/root{self._folder}/run/mpkernel")
        (path,) = until(lambda: list(directory.glob("mpk-*.json")))
        return msgspec.json.decode(path.read_bytes(), type=ServerSnapshot)

    def descriptors(self) -> int:
        """How many descriptors the server has open."""
        return psutil.Process(self.pid).num_fds()

    def children(self) -> set[int]:
        """The living processes that the server has started."""
        return {child.pid for child in psutil.Process(self.pid).children() if child.is_running()}

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            answer = json.loads(line)
            future = self._answers.pop(answer.pop("number"))
            if "error" in answer:
                future.set_exception(Refused(**answer))
            else:
                future.set_result(answer["result"])
        for future in list(self._answers.values()):
            future.set_exception(EOFError(f"the server has ended: {self.log}"))

    def _assert_tidy(self) -> None:
        left = [
            str(path)
            for path in (*self._folder.glob("run/mpkernel/*"), *self._folder.glob("tmp/mpk-*"))
        ]
        assert not left, f"left behind: {left}"
        assert not self._tidy or "Traceback" not in self.log, self.log

    def _kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()


def directories(folder: Path) -> dict[str, str]:
    """The environment of a user whose directories are in this folder. The directories are made."""
    for name in ("run", "state", "tmp", "home"):
        (folder / name).mkdir(mode=0o700, exist_ok=True)
    return {
        "XDG_RUNTIME_DIR": str(folder / "run"),
        "XDG_STATE_HOME": str(folder / "state"),
        "TMPDIR": str(folder / "tmp"),
        "HOME": str(folder / "home"),
    }


@contextmanager
def short_folder() -> Iterator[Path]:
    """A folder of a test's own, by a short path."""
    with tempfile.TemporaryDirectory(prefix="flt-") as folder:
        yield Path(folder)
