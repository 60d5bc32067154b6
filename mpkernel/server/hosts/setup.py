"""Makes the messages that tell a host which app to run, and which kernel to start."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from mpkernel.errors import HostStartError, ProtocolError
from mpkernel.server.hosts.announced_files import AnnouncedFiles
from mpkernel.server.hosts.owner import HostT, Owner
from mpkernel.server.hosts.private_folders import (
    PrivateFolders,
    confinement_elsewhere,
    confinement_of,
)
from mpkernel.server.launching.process import Process
from mpkernel.settings import Settings
from mpkernel.spec import KernelSpec
from mpkernel.wire.messages import CreateKernel, FileStorage, Setup, Stopping

__all__ = ["create_kernel", "setup_of", "told_as_start_error"]


def setup_of(
    owner: Owner[HostT],
    process: Process,
    argv: Sequence[str],
    files: AnnouncedFiles,
    undo: ExitStack,
) -> Setup:
    """The first message to a host.

    Args:
        owner: the app.
        process: the process that was launched.
        argv: what `sys.argv` is to contain after the app's path.
        files: the process's virtual files. They are told where these lie, if it is in a folder that
            the server has made.
        undo: collects what must be undone if connecting the process fails.

    Raises:
        HostStartError: the process is to be confined, and no folder can be made for it.
    """
    settings, app = owner.settings, owner.path
    confinement = None
    files_folders: list[str] = []
    handed = process.folder
    if handed is not None:
        undo.callback(handed.remove)
        files_folders.append(handed.seen_as)
        files.lie_in(handed.path, seen_as=handed.seen_as)
    if settings.confine != "off" and process.elsewhere is not None:
        confinement = confinement_elsewhere(settings, owner.import_folders)
    elif settings.confine != "off":
        folders = PrivateFolders.make(
            owner.name,
            process.pid,
            settings.file_storage,
            settings.file_fallback,
            with_files=handed is None,
        )
        undo.callback(folders.remove)
        for folder in folders.files:
            files_folders.append(folder)
            files.lie_in(folder)
        confinement = confinement_of(
            settings, app, owner.import_folders, folders.home, files_folders
        )
    return Setup(
        app=app,
        argv=[app, *argv],
        max_frame_bytes=settings.max_frame_bytes,
        host_window_bytes=settings.host_window_bytes,
        files=FileStorage(
            kind=settings.file_storage,
            fallback=settings.file_fallback,
            session_quota_bytes=settings.session_files_bytes,
            quota_bytes=settings.files_bytes,
            recycled_bytes=settings.recycled_files_bytes,
            recycled_age_s=settings.recycled_files_age_s,
        ),
        stopping=Stopping(
            interrupt_grace_s=settings.interrupt_grace_s,
            max_abandoned=settings.max_abandoned,
        ),
        confinement=confinement,
        files_folders=files_folders,
    )


def create_kernel(session_id: str, kernel: KernelSpec, settings: Settings) -> CreateKernel:
    """What a host is told of a session that is opened on it."""
    return CreateKernel(
        session_id=session_id,
        entry=kernel.entry,
        args=kernel.args,
        window_bytes=settings.window_bytes,
    )


@contextmanager
def told_as_start_error(name: str) -> Iterator[None]:
    """Turn errors in this `with` block, which connects and sets up a process, into
    `HostStartError`.

    Args:
        name: the short name of the app.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        raise HostStartError(
            f"the process of {name} was started, but not connected: {error}",
            remedy="look at the limits on descriptors and threads of this server",
        ) from error
    except UnicodeEncodeError as error:
        raise HostStartError(
            f"the process of {name} was started, but not told what it is for: the path"
            f" {error.object!r} is not UTF-8",
            remedy="rename it",
        ) from error
    except ProtocolError as error:
        raise HostStartError(
            f"the process of {name} was started, but not told what it is for: {error}",
            remedy="shorten KernelSpec.argv, or raise max_frame_bytes",
        ) from error
