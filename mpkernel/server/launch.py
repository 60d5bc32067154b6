"""Launching a process: `multiprocessing`'s *spawn*, without what the stock launch gets wrong here.

- No `__main__` of the launcher is run in the child; `sys.argv`, the start method and the authkey
  are those of a fresh interpreter. `spawn.get_preparation_data` is not asked: it settles the start
  method of the launcher as well.
- The child's resource tracker is its own: what it leaks goes when it does.
- It may lead a session of its own, and its standard descriptors and environment are given here.
- Files of the current directory that are named like the standard library's are not imported: the
  child reads a command that is given with `-c`, and would look there first.

What the child is for, and what becomes of it, is its launcher's: `process`, `foreground`.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Mapping
from multiprocessing import context, popen_spawn_posix, process, reduction, spawn
from typing import Any, cast

from mpkernel.errors import HostStartError
from mpkernel.spec import MainProgram

__all__ = ["Spawned", "Stdio"]

# The child does not read yet when this is written; more than a pipe takes would block the caller.
_MAX_PREPARATION_BYTES = 60_000

Stdio = tuple[int | None, int | None, int | None]
"""The child's descriptors 0, 1 and 2; None for the launcher's own."""


class Spawned(context.SpawnProcess):
    """A process that `start` launches; `popen.child` is what was executed.

    Args:
        name: for messages.
        program: what is unpickled in the child, and runs there.
        descriptors: what the child shall have besides its standard ones.
        stdio: those.
        env: the environment. Default: the launcher's own.
        own_session: whether the child leads a session and a process group.
        preparation: what `spawn.prepare` shall set besides the import path.
    """

    def __init__(
        self,
        *,
        name: str,
        program: context.SpawnProcess | MainProgram,
        descriptors: tuple[int, ...],
        stdio: Stdio,
        env: Mapping[str, str] | None = None,
        own_session: bool = True,
        preparation: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(name=name, daemon=False)
        self.program = program
        self.descriptors = descriptors
        self.stdio = stdio
        self.env = dict(env) if env is not None else None
        self.own_session = own_session
        self.preparation = dict(preparation or {})

    def start(self) -> None:
        """Launch the child; about a millisecond.

        Raises:
            OSError: the operating system refused (out of processes, memory, descriptors).
            HostStartError: more would have to be handed over than can be.
        """
        super().start()
        # Nobody but its launcher ends the child: the exit of `multiprocessing` must not join it.
        process._children.discard(self)  # type: ignore[attr-defined]

    @staticmethod
    def _Popen(process_obj: Any) -> Any:
        return _Launched(process_obj)

    @property
    def popen(self) -> _Launched:
        """What `start` launched."""
        return cast(_Launched, vars(self)["_popen"])


class _Launched(popen_spawn_posix.Popen):
    """Spawn's Popen with a launch of our own. `child` is what was executed."""

    child: subprocess.Popen[bytes]

    def _launch(self, process_obj: Spawned) -> None:
        payload = io.BytesIO()
        context.set_spawning_popen(self)
        try:
            reduction.dump({**process_obj.preparation, "sys_path": _import_path()}, payload)
            reduction.dump(process_obj.program, payload)
        finally:
            context.set_spawning_popen(None)
        if payload.tell() > _MAX_PREPARATION_BYTES:
            raise HostStartError(
                f"sys.path and the like of this server take {payload.tell()} bytes,"
                f" {_MAX_PREPARATION_BYTES} can be handed to {process_obj.name}",
                remedy="shorten sys.path",
            )
        child_reads, we_write = os.pipe()
        try:
            stdin, stdout, stderr = process_obj.stdio
            self.child = subprocess.Popen(
                _command_line(child_reads),
                executable=os.fsdecode(spawn.get_executable()),
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                env=process_obj.env,
                pass_fds=(*process_obj.descriptors, child_reads),
                start_new_session=process_obj.own_session,
            )
            self.pid = self.child.pid
            self.sentinel = -1  # never waited for through multiprocessing
            try:
                with open(we_write, "wb", closefd=False) as pipe:
                    pipe.write(payload.getbuffer())
            except BrokenPipeError:  # it has died already
                self.child.wait()
                raise
        finally:
            os.close(child_reads)
            os.close(we_write)


def _command_line(pipe_handle: int) -> list[str]:
    """Spawn's own, with `-P`."""
    executable, *options = spawn.get_command_line(tracker_fd=None, pipe_handle=pipe_handle)
    return [executable, *([] if sys.flags.safe_path else ["-P"]), *options]


def _import_path() -> list[str]:
    directory = process.ORIGINAL_DIR  # type: ignore[attr-defined]
    return [directory if path == "" else path for path in sys.path]
