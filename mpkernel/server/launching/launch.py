"""Launching a process: `multiprocessing`'s *spawn*, without what the stock launch gets wrong here.

- No `__main__` of the launcher is run in the child; `sys.argv`, the start method and the authkey
  are those of a fresh interpreter. `spawn.get_preparation_data` is not asked: it settles the start
  method of the launcher as well.
- The child's resource tracker is its own: what it leaks goes when it does.
- A daemonic process may launch one, too: `multiprocessing` forbids it to have children because
  nobody would end them, and these end with their launcher.
- It may lead a session of its own, and its standard descriptors and environment are given here.
- Files of the current directory that are named like the standard library's are not imported: the
  child reads a command that is given with `-c`, and would look there first.

What the child is for, and what becomes of it, is its launcher's: `local_process`, `foreground`.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Mapping
from multiprocessing import context, process, reduction, util
from typing import Any, TypeAlias, cast

from mpkernel.errors import HostStartError
from mpkernel.program import MainProgram
from mpkernel.server.launching.interpreter import interpreter

__all__ = ["Stdio", "launch"]

# The child does not read yet when this is written; more than a pipe takes would block the caller.
_MAX_PREPARATION_BYTES = 60_000

_PROGRAM = (
    "from multiprocessing.spawn import spawn_main; spawn_main(tracker_fd=None, pipe_handle={})"
)

Stdio: TypeAlias = tuple[int | None, int | None, int | None]
"""The child's descriptors 0, 1 and 2; None for the launcher's own."""


def launch(
    name: str,
    program: context.SpawnProcess | MainProgram,
    *,
    descriptors: tuple[int, ...],
    stdio: Stdio,
    env: Mapping[str, str] | None = None,
    own_session: bool = True,
    preparation: Mapping[str, Any] | None = None,
) -> subprocess.Popen[bytes]:
    """Launch a process; about a millisecond. Nobody but the caller ends it: `multiprocessing`
    does not know it, and neither terminates nor joins it.

    Args:
        name: for messages.
        program: what is unpickled in the child, and runs there.
        descriptors: what the child shall have besides its standard ones.
        stdio: those.
        env: the environment. Default: the launcher's own.
        own_session: whether the child leads a session and a process group.
        preparation: what `spawn.prepare` shall set besides the import path.

    Raises:
        OSError: the operating system refused (out of processes, memory, descriptors).
        HostStartError: there is no Python to launch, or more to hand over than can be.
    """
    python = interpreter()
    payload = _pickled({**(preparation or {}), "sys_path": _import_path()}, program)
    if len(payload) > _MAX_PREPARATION_BYTES:
        raise HostStartError(
            f"sys.path and the like of this server take {len(payload)} bytes,"
            f" {_MAX_PREPARATION_BYTES} can be handed to {name}",
            remedy="shorten sys.path",
        )
    child_reads, we_write = os.pipe()
    try:
        stdin, stdout, stderr = stdio
        child = subprocess.Popen(
            _command_line(python, child_reads),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=env,
            pass_fds=(*descriptors, child_reads),
            start_new_session=own_session,
        )
        try:
            with open(we_write, "wb", closefd=False) as pipe:
                pipe.write(payload)
        except BrokenPipeError:  # it has died already
            child.wait()
            raise
    finally:
        os.close(child_reads)
        os.close(we_write)
    return child


def _pickled(*objects: object) -> memoryview:
    """What `spawn` reads in the child. An authkey is pickled only while a process is spawned."""
    payload = io.BytesIO()
    context.set_spawning_popen(cast(Any, object()))  # all that is asked is whether there is one
    try:
        for one in objects:
            reduction.dump(one, payload)
    finally:
        context.set_spawning_popen(None)
    return payload.getbuffer()


def _command_line(python: str, pipe_handle: int) -> list[str]:
    """Spawn's own, with `-P`."""
    options: list[str] = util._args_from_interpreter_flags()  # type: ignore[attr-defined]
    if not sys.flags.safe_path:
        options = ["-P", *options]
    return [python, *options, "-c", _PROGRAM.format(pipe_handle), "--multiprocessing-fork"]


def _import_path() -> list[str]:
    directory = process.ORIGINAL_DIR  # type: ignore[attr-defined]
    return [directory if path == "" else path for path in sys.path]
