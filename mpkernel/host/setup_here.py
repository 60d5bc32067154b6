"""`setup_here`: what the server says of an app, with the paths of this machine.

The server of a process on another machine knows neither where the copy of the app is, nor which
folders the process was given there.
"""

from __future__ import annotations

import os

import msgspec

from mpkernel.app_copy import path_here
from mpkernel.errors import ConfinementError
from mpkernel.own_folders import OwnFolders
from mpkernel.wire.confinement import Confinement
from mpkernel.wire.messages import Setup

__all__ = ["confinement_here", "setup_here"]


def setup_here(setup: Setup, own: OwnFolders | None, folder_fd: int | None) -> Setup:
    """The setup with the paths of this machine. On the server's own machine, nothing is changed.

    Args:
        setup: what the server says.
        own: the folders that this process was given by who started it.
        folder_fd: the folder where virtual files are kept, as a descriptor; None if there is none.
    """
    app = path_here(setup.app)
    if app != setup.app:
        setup = msgspec.structs.replace(setup, app=app, argv=[app, *setup.argv[1:]])
    folders = list(setup.files_folders)
    if not folders and folder_fd is not None:
        folders = [f"/proc/self/fd/{folder_fd}"]
    elif not folders and own is not None:
        folders = list(own.files)
    return msgspec.structs.replace(setup, files_folders=folders)


def confinement_here(confinement: Confinement, setup: Setup, own: OwnFolders | None) -> Confinement:
    """What this process may do, with the paths of this machine.

    Args:
        confinement: what the server says.
        setup: what `setup_here` gave.
        own: see there.

    Raises:
        ConfinementError: the process needs folders of its own, and was not told of any.
    """
    if confinement.home:
        return confinement
    if own is None:
        raise ConfinementError(
            "the process was not told of the folders that were made for it",
            remedy="have launch_wrapper hand on the environment variables",
        )
    app = setup.app
    beside = dict.fromkeys((os.path.dirname(app), os.path.dirname(os.path.realpath(app))))
    return msgspec.structs.replace(
        confinement,
        read=[*beside, *map(os.path.expanduser, confinement.read)],
        write=list(map(os.path.expanduser, confinement.write)),
        home=own.home,
        files=list(setup.files_folders),
    )
