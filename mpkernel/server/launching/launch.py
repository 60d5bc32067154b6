"""Launching a process as `multiprocessing`'s *spawn* does, with these differences:

- The child does not run the launcher's `__main__`. Its `sys.argv`, start method and authkey are
  those of a fresh interpreter. `spawn.get_preparation_data` is not called, because it would also
  fix the start method of the launcher.
- The child has a resource tracker of its own. So what the child leaks is removed when it ends.
- A daemonic process may launch one, too. `multiprocessing` forbids daemonic processes to have
  children, because nobody would end these; ours end with their launcher.
- The child may lead a process session of its own. The caller gives its standard descriptors and its
  environment.
- Files in the current directory that have the same names as modules of the standard library are not
  imported. A child that is started with `-c` would look there first.

Another Python than the launcher's is launched without *spawn*: see `other_python`.

`local_process` and `foreground` say what the child is for, and how it is ended.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from multiprocessing import context, process, reduction, util
from typing import Any, TypeAlias, cast

from mpkernel.errors import HostStartError
from mpkernel.program import MainProgram
from mpkernel.server.launching.interpreter import interpreter
from mpkernel.server.launching.other_python import Call, OtherPython

__all__ = ["Stdio", "launch", "launch_other"]

# The child does not read yet when this is written. More than a pipe holds would block the caller.
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
    wrapper: Sequence[str] = (),
    folder: str | None = None,
) -> subprocess.Popen[bytes]:
    """Launch a process. This takes about a millisecond. The caller has to end the process:
    `multiprocessing` does not know it, and neither terminates nor joins it.

    Args:
        name: what messages call it.
        program: what is unpickled in the child, and runs there.
        descriptors: the descriptors that the child gets besides its standard ones.
        stdio: its standard descriptors.
        env: its environment. Default: the launcher's own.
        own_session: whether the child leads a process session and a process group.
        preparation: what `spawn.prepare` sets in the child besides the import path.
        wrapper: the command that starts the interpreter. Default: none.
        folder: its current folder. Default: the launcher's own.

    Raises:
        OSError: the operating system refused (out of processes, memory, descriptors).
        HostStartError: there is no Python to launch, or there is too much to hand over.
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
            [*wrapper, *_command_line(python, child_reads)],
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=env,
            cwd=folder,
            pass_fds=(*descriptors, child_reads),
            start_new_session=own_session,
        )
        try:
            with open(we_write, "wb", closefd=False) as pipe:
                pipe.write(payload)
        except BrokenPipeError:  # the child has died already
            child.wait()
            raise
    finally:
        os.close(child_reads)
        os.close(we_write)
    return child


def launch_other(
    python: OtherPython,
    call: Call,
    *,
    descriptors: tuple[int, ...],
    stdio: Stdio,
    env: Mapping[str, str] | None = None,
    own_session: bool = True,
    wrapper: Sequence[str] = (),
    folder: str | None = None,
) -> subprocess.Popen[bytes]:
    """Launch a process with another Python, as `launch` does.

    Args:
        python: what runs the child; it is closed here.
        call: what runs in it.
        descriptors, stdio, env, own_session, wrapper, folder: see `launch`.

    Raises:
        OSError: the operating system refused.
        HostStartError: there is no room for what must be handed over.
    """
    stdin, stdout, stderr = stdio
    try:
        return subprocess.Popen(
            python.command_line(call, wrapper),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=python.environ(os.environ if env is None else env),
            cwd=folder,
            pass_fds=(*descriptors, *python.descriptors),
            start_new_session=own_session,
        )
    finally:
        python.close()


def _pickled(*objects: object) -> bytes:
    """What `spawn` reads in the child. An authkey is pickled only while a process is spawned."""
    payload = io.BytesIO()
    context.set_spawning_popen(cast(Any, object()))  # `spawn` only asks whether one is set
    try:
        for one in objects:
            reduction.dump(one, payload)
    finally:
        context.set_spawning_popen(None)
    return payload.getvalue()


def _command_line(python: str, pipe_handle: int) -> list[str]:
    """Spawn's own, with `-P`."""
    options: list[str] = util._args_from_interpreter_flags()  # type: ignore[attr-defined]
    if not sys.flags.safe_path:
        options = ["-P", *options]
    return [python, *options, "-c", _PROGRAM.format(pipe_handle), "--multiprocessing-fork"]


def _import_path() -> list[str]:
    directory = process.ORIGINAL_DIR  # type: ignore[attr-defined]
    return [directory if path == "" else path for path in sys.path]
