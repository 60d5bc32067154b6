"""A notebook server in a process of its own, watched from outside for what it leaves behind."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
import psutil

__all__ = ["MARK", "PATIENCE_S", "PROGRAM", "SERVER_OPTIONS", "Server", "free_port", "mapped_files"]

PATIENCE_S = 59.0
"""How long to wait for what a server should do at once, on a busy machine. It is less than a
minute, because then mpkernel's own limits may end what hangs."""

PROGRAM = tuple(
    shlex.split(os.environ.get("MPKERNEL_TEST_PROGRAM", ""))
    or (sys.executable, "-m", "mpkernel", "run")
)
SERVER_OPTIONS = ("--headless", "--no-token", "--port", "{port}")

MARK = "MPKERNEL_TEST_MARK"
"""Environment variable that every process of a server inherits; its value names the server."""

LEFTOVER_DEADLINE_S = 5.0
_POLL_S = 0.05
_TOLD_CHARACTERS = 20_000
_SHM = Path("/dev/shm")
_NAMES = ("mpk-", "psm_")
_PORTS = range(2**14, 2**15)
_PORTS_PER_PROCESS = 2**7
_port_numbers = itertools.count()


def free_port() -> int:
    """A TCP port on the loopback that nothing listened on a moment ago.

    It is below the ports that the system gives to connections, and in a range of this process's
    own: other processes may look for one at the same time.
    """
    first = _PORTS.start + os.getpid() * _PORTS_PER_PROCESS % len(_PORTS)
    for number in itertools.islice(_port_numbers, _PORTS_PER_PROCESS):
        port = first + number % _PORTS_PER_PROCESS
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError(f"no TCP port is free from {first} to {first + _PORTS_PER_PROCESS - 1}")


class Server:
    """A notebook server in a process of its own, for the length of a `with` block.

    Runs `program`, then `options`, then `paths`; `{port}` in any of them becomes the port.
    Leaving the block ends the server, whatever state it is in. If the block itself went
    well, it then asserts that every process the server started is gone and that nothing
    new lies in shared memory; what is left is killed first, one by one.

    All methods block; in a coroutine use `async with` and `await asyncio.to_thread(...)`
    where tabs have to stay responsive meanwhile.

    Args:
        paths: notebooks and directories to serve (or an application, for another program).
        program: the command; `MPKERNEL_TEST_PROGRAM` overrides the default.
        server_options: what every server of this program is given.
        options: further options of this one.
        env: variables to add to the environment; a value of None removes one.
        health: path that answers 200 once the server is ready.
        ready_timeout_s: how long it may take until then.
        port: where it listens. Default: a free one.
    """

    def __init__(
        self,
        *paths: str | os.PathLike[str],
        program: Sequence[str] = PROGRAM,
        server_options: Sequence[str] = SERVER_OPTIONS,
        options: Sequence[str] = (),
        env: Mapping[str, str | None] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        health: str = "/health",
        ready_timeout_s: float = PATIENCE_S,
        port: int | None = None,
    ) -> None:
        self.port = port if port is not None else free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._argv = [
            part.replace("{port}", str(self.port))
            for part in (*program, *server_options, *options, *map(os.fspath, paths))
        ]
        self._env = env or {}
        self._cwd = cwd
        self._health = health
        self._ready_timeout_s = ready_timeout_s
        self._mark = uuid.uuid4().hex
        self._seen: set[psutil.Process] = set()

    def __enter__(self) -> Self:
        self._directory = tempfile.TemporaryDirectory(prefix="mpkernel-e2e-")
        self._output = Path(self._directory.name, "output")
        self._shm_before = set(_shm_entries())
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                self._argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment(),
                cwd=self._cwd,
                start_new_session=True,
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        complaints = self._end()
        if error is not None:
            while isinstance(error, BaseExceptionGroup):  # whose notes come before its exceptions
                error = error.exceptions[-1]
            error.add_note("\n".join([*complaints, "The server's output:", self._last_output]))
        elif complaints:
            raise AssertionError("\n".join([*complaints, "Its output:", self._last_output]))

    async def __aenter__(self) -> Self:
        return await asyncio.to_thread(self.__enter__)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self.__exit__, kind, error, traceback)

    @property
    def pid(self) -> int:
        return self._process.pid

    def output(self) -> str:
        """What the server and its processes wrote to standard output and error so far."""
        return self._output.read_text(errors="replace")

    def wait_for_output(self, text: str, timeout_s: float = PATIENCE_S) -> str:
        """Returns the output once it contains `text`."""
        deadline = time.monotonic() + timeout_s
        while text not in (output := self.output()):
            if time.monotonic() > deadline:
                raise AssertionError(f"no {text!r} within {timeout_s} s in:\n{output}")
            time.sleep(_POLL_S)
        return output

    def descendants(self) -> list[psutil.Process]:
        """The live processes that stem from the server, itself excluded.

        Found by ancestry and by the mark in their environment, so that a process whose
        parent has died is found too. Each process once seen is remembered for the final
        check; psutil tells processes apart by pid and create time.
        """
        found = set(_marked_processes(self._mark))
        with contextlib.suppress(psutil.NoSuchProcess):
            found.update(psutil.Process(self.pid).children(recursive=True))
        self._seen |= {process for process in found if process.pid != self.pid}
        return [process for process in self._seen if _lives(process)]

    def stop(self, signal_number: int = signal.SIGINT, timeout_s: float = PATIENCE_S) -> int:
        """Asks the server to end and returns its exit code (negative for a signal). The time is for
        a machine that does much else: it shows that the server hangs, not how fast it ends."""
        self.descendants()
        self._process.send_signal(signal_number)
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            name = signal.Signals(signal_number).name
            running = "\n".join(_describe(process) for process in self.descendants())
            raise AssertionError(
                f"server pid={self.pid} still runs {timeout_s} s after {name},"
                f" and of its processes:\n{running}\n{self.output()}"
            ) from None

    def kill(self) -> None:
        """Kills the server process alone; its descendants have to find out by themselves."""
        self.descendants()
        self._process.kill()
        self._process.wait()

    def assert_nothing_is_left(self) -> None:
        """Waits up to 5 s for the last process and the last block of shared memory to go."""
        if complaints := self._wait_for_the_last():
            raise AssertionError("\n".join(complaints))

    def _environment(self) -> dict[str, str]:
        config = Path(self._directory.name, "config")
        ours = {MARK: self._mark, "XDG_CONFIG_HOME": str(config), "XDG_STATE_HOME": str(config)}
        merged: dict[str, str | None] = {**os.environ, **ours, **self._env}
        return {name: value for name, value in merged.items() if value is not None}

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + self._ready_timeout_s
        with httpx.Client(trust_env=False, verify=False) as client:
            while True:
                if self._process.poll() is not None:
                    raise AssertionError(
                        f"server ended with {self._process.returncode}:\n{self.output()}"
                    )
                with contextlib.suppress(httpx.TransportError):
                    if client.get(self.url + self._health, timeout=2).status_code == 200:
                        return
                if time.monotonic() > deadline:
                    raise AssertionError(
                        f"server pid={self.pid} not ready in {self._ready_timeout_s} s:\n"
                        f"{self.output()}"
                    )
                time.sleep(_POLL_S)

    def _end(self) -> list[str]:
        complaints = []
        if self._process.poll() is None:
            try:
                self.stop()
            except AssertionError as refusal:
                complaints.append(str(refusal))
                self.kill()
        complaints += self._wait_for_the_last()
        self._last_output = self.output()[-_TOLD_CHARACTERS:]
        self._directory.cleanup()
        return complaints

    def _wait_for_the_last(self) -> list[str]:
        deadline = time.monotonic() + LEFTOVER_DEADLINE_S
        while True:
            processes = self.descendants()
            blocks = self._leftover_blocks()
            if not processes and not blocks:
                return []
            if time.monotonic() > deadline:
                break
            time.sleep(_POLL_S)
        complaints = [f"left running: {_describe(process)}" for process in processes]
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        return complaints + [f"left in {_SHM}: {name}" for name in sorted(blocks)]

    def _leftover_blocks(self) -> set[str]:
        """New entries in shared memory, without those that another program may own.

        Other servers may be at work on this machine, and an entry does not tell whose it is.
        Python keeps a resource tracker beside every process that creates one, so an entry that
        is younger than a stranger's tracker gets the benefit of the doubt, as one that is mapped.
        """
        names = set(_shm_entries()) - self._shm_before
        if not names:
            return set()
        suspects = _trackers_of_others(self._mark)
        return {
            name
            for name in names
            if (born := _created(name)) is not None
            and not any(tracker < born for tracker in suspects)
            and not _mapped_by_any_process(name)
        }


def mapped_files(process: psutil.Process | int) -> str:
    """The process's memory map as text; empty for a process that has gone."""
    pid = process if isinstance(process, int) else process.pid
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/maps").read_text()
    return ""


def _marked_processes(mark: str) -> Iterable[psutil.Process]:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(MARK) == mark:
                yield process


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _describe(process: psutil.Process) -> str:
    try:
        with process.oneshot():
            cpu_s = sum(process.cpu_times()[:2])
            state = f"{process.status()}, {cpu_s:.1f} s of CPU"
            return f"pid={process.pid} ({state}) {shlex.join(process.cmdline())}"
    except psutil.Error:
        return f"pid={process.pid}"


def _shm_entries() -> list[str]:
    """Those that a notebook server may have made: other programs keep other things there."""
    names = os.listdir(_SHM) if _SHM.is_dir() else []
    return [name for name in names if name.startswith(_NAMES)]


def _created(name: str) -> float | None:
    with contextlib.suppress(FileNotFoundError):
        return (_SHM / name).stat().st_ctime
    return None


def _trackers_of_others(mark: str) -> list[float]:
    """When the resource trackers were started that belong neither to the server nor to us."""
    ours = set(_marked_processes(mark)) | set(psutil.Process().children())
    started = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process not in ours and "resource_tracker" in " ".join(process.cmdline()):
                started.append(process.create_time())
    return started


def _mapped_by_any_process(name: str) -> bool:
    for process in psutil.process_iter():
        with contextlib.suppress(PermissionError):
            if f"{_SHM}/{name}" in mapped_files(process):
                return True
    return False
