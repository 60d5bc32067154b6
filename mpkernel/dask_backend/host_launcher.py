"""`HostLauncher`: launches the one host of an outpost, with all that its order asks for.

order ─▶ the Python that is wanted, as this machine has it ─┐
      ─▶ folders of its own, if it is to be confined ───────┼─▶ LocalLauncher ─▶ the host
      ─▶ a wrapper ─────────────────────────────────────────┘
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack
from multiprocessing.connection import Connection

import msgspec

from mpkernel.dask_backend.messages import Launch, Launched
from mpkernel.own_folders import OWN_FOLDERS, OwnFolders
from mpkernel.server.hosts.private_folders import PrivateFolders
from mpkernel.server.launching.local_launcher import LocalLauncher
from mpkernel.server.launching.local_process import LocalProcess
from mpkernel.server.launching.process import ProcessToLaunch
from mpkernel.server.launching.python_of_app import python_on_this_machine

__all__ = ["HostLauncher"]


class HostLauncher:
    """Launches a host once.

    Args:
        control, stream: the connections to its server, which it gets in the place of Pipes.
    """

    def __init__(self, control: Connection, stream: Connection) -> None:
        self._launcher = _Launcher(control, stream)
        self._folders: PrivateFolders | None = None

    def launch(
        self, order: Launch, app: str | None, env: Mapping[str, str] | None
    ) -> tuple[LocalProcess, Launched]:
        """Launch it, as `LocalLauncher.launch` does.

        Args:
            order: what the server asks for.
            app: absolute path of the app's file on this machine; None if it is not known yet.
            env: its variables. None: those of this process.

        Returns:
            The process, and what the server is told of it.

        Raises:
            HostStartError: it was refused, and why; see also `python_of_app`.
            ValueError: a variable is none that a process can have.
        """
        self._launcher.current_folder = _current_folder(order, app)
        env = os.environ if env is None else env
        python = None
        if order.python is not None and app is not None:
            python = python_on_this_machine(app, order.python, env)
        if order.confined is not None:
            # The folders' names say that this process uses them, so that a sweep knows them if it
            # is killed.
            self._folders = PrivateFolders.make(
                order.name,
                os.getpid(),
                order.confined.storage,
                order.confined.fallback,
                with_files=order.wrapper is None,
            )
            own = OwnFolders(self._folders.home, self._folders.files)
            env = {**env, OWN_FOLDERS: msgspec.json.encode(own).decode()}
        try:
            process = self._launcher.launch(
                ProcessToLaunch(order.name, env=env, python=python, wrapper=order.wrapper)
            )
        except BaseException:
            self.remove_folders()
            raise
        is_named = python is not None or order.wrapper is not None
        return process, Launched(
            pid=process.pid,
            python=process.python if is_named else None,
            environment=process.environment,
            is_other=python is not None,
        )

    def folders_of_files(self, process: LocalProcess) -> dict[str, str]:
        """The only folders in which the process may have virtual files, by the paths under which it
        finds them. Empty: it makes blocks, or temporary files, as it sees fit."""
        if process.folder is not None:
            return {process.folder.seen_as: process.folder.path}
        files = self._folders.files if self._folders is not None else ()
        return {folder: folder for folder in files}

    def remove_folders(self) -> None:
        """Remove what was made for the process, with all that it holds. Idempotent."""
        if self._folders is not None:
            self._folders.remove()


def _current_folder(order: Launch, app: str | None) -> str | None:
    """Where the host finds under relative paths what it would find at the server: the server's
    current folder, or its place in the copy of the app's folder, or beside this one. None: neither
    is here."""
    if order.current_folder is None:
        return None
    if app is not None and order.app is not None and app != order.app:
        sent, copy = os.path.dirname(order.app), os.path.dirname(app)
        place = os.path.relpath(order.current_folder, sent)
        in_copy = os.path.normpath(os.path.join(copy, place))
        is_sent = place == os.pardir or place.split(os.sep)[0] != os.pardir
        if is_sent and os.path.isdir(in_copy):
            return in_copy
    return order.current_folder if os.path.isdir(order.current_folder) else None


class _Launcher(LocalLauncher):
    """Launches one host, with connections to its server in the place of Pipes."""

    def __init__(self, control: Connection, stream: Connection) -> None:
        self._ends = control, stream

    def _pipes(
        self, ours: ExitStack, theirs: ExitStack
    ) -> tuple[tuple[Connection, Connection], tuple[Connection, Connection]]:
        """The same connections on both sides: this process keeps copies of those that the host
        gets."""
        made = []
        for end in self._ends:
            copy = Connection(os.dup(end.fileno()))
            ours.callback(copy.close)
            theirs.callback(end.close)
            made.append((copy, end))
        return made[0], made[1]
