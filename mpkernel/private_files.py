"""The directories and files that a server keeps for its operators, which only its user can read."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
from pathlib import Path

from mpkernel.logs import get_logger
from shm.names import next_name, owner_of

__all__ = [
    "absolute",
    "check_private",
    "crash_directory",
    "make_private",
    "make_unwritable_by_others",
    "private_runtime_directory",
    "read_bounded",
    "remove_leftovers",
    "runtime_directories",
    "sandbox_directory",
    "session_directory",
    "write_private",
    "write_public",
]

logger = get_logger(__name__)

_NAME = "mpkernel"


def runtime_directories() -> list[Path]:
    """The directories in which servers of this user may keep files while they run, the preferred
    one first. There are several because a server may have been started with another environment
    than the program that looks for it."""
    given = os.environ.get("XDG_RUNTIME_DIR", "")
    found = [Path(given) / _NAME] if os.path.isabs(given) else []
    try:
        found.append(Path(tempfile.gettempdir()) / f"{_NAME}-{os.geteuid()}")
    except FileNotFoundError as error:  # there is no directory that this user may write to
        logger.debug("no directory for temporary files: %s", error)
    return found


def private_runtime_directory() -> Path:
    """The first of `runtime_directories` that can be used. It is made if it does not exist.

    Raises:
        OSError: none can be used; the error says why the last one cannot.
    """
    failure: OSError = FileNotFoundError(errno.ENOENT, "no directory can be written to")
    for directory in runtime_directories():
        try:
            make_private(directory)
        except OSError as error:
            logger.debug("no runtime directory: %s", error)
            failure = error
        else:
            return directory
    raise failure


def crash_directory() -> Path:
    """Where reports of deaths are kept: `$XDG_STATE_HOME/mpkernel/crashes`, by default under
    `~/.local/state`. It may not exist."""
    return _state_directory() / "crashes"


def session_directory(named: str | None = None) -> Path:
    """Where sessions are stored. It may not exist.

    Args:
        named: the setting `session_store_directory`; "~" is the user's home. Default:
            `$XDG_STATE_HOME/mpkernel/sessions`, by default under `~/.local/state`.
    """
    return _state_directory() / "sessions" if named is None else absolute(named)


def absolute(named: str) -> Path:
    """The path that a setting names, as an absolute one. "~" is the user's home; if the user has
    none, the path stays as it is, and `make_private` says so."""
    path = os.path.expanduser(named)
    return Path(path) if path.startswith("~") else Path(path).absolute()


def _state_directory() -> Path:
    given = os.environ.get("XDG_STATE_HOME", "")
    base = Path(given) if os.path.isabs(given) else Path(os.path.expanduser("~/.local/state"))
    return base / _NAME


def sandbox_directory() -> Path:
    """Where environments of apps are kept: `$XDG_CACHE_HOME/mpkernel/sandboxes`, by default under
    `~/.cache`. It may not exist."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(given) if os.path.isabs(given) else Path(os.path.expanduser("~/.cache"))
    return base / _NAME / "sandboxes"


def make_private(directory: Path) -> None:
    """Make a directory that nobody else may enter. If it exists, check that it is one.

    Raises:
        PermissionError: it is a link, belongs to another user, or is open to others.
        OSError: it cannot be made.
    """
    _make(directory)
    check_private(directory)


def make_unwritable_by_others(directory: Path) -> None:
    """Make a directory that nobody else may write into; others may read it. If it exists, check
    that it is one.

    Raises:
        PermissionError: it is a link, belongs to another user, or others may write into it.
        OSError: it cannot be made.
    """
    _make(directory)
    if _mode_of_own(directory) & 0o022:
        reason = "others may write into it (chmod go-w)"
        raise PermissionError(errno.EACCES, reason, str(directory))


def check_private(directory: Path) -> None:
    """Check that a directory belongs to this user, and is closed to others.

    Raises:
        PermissionError: it is not.
        OSError: there is no such directory.
    """
    if _mode_of_own(directory) & 0o077:
        raise PermissionError(errno.EACCES, "it is open to others (chmod 700)", str(directory))


def _make(directory: Path) -> None:
    if not directory.is_absolute():  # it still begins with "~": this user has no home directory
        raise FileNotFoundError(errno.ENOENT, "this user has no home directory", str(directory))
    with contextlib.suppress(FileExistsError):
        directory.mkdir(mode=0o700, parents=True)


def _mode_of_own(directory: Path) -> int:
    """The mode of a directory of this user.

    Raises:
        PermissionError: it is a link or a file, or belongs to another user.
        OSError: there is no such directory.
    """
    found = os.lstat(directory)
    if not stat.S_ISDIR(found.st_mode):
        raise PermissionError(
            errno.EACCES, "it is a link or a file, not a directory", str(directory)
        )
    if found.st_uid != os.geteuid():
        raise PermissionError(errno.EACCES, "it belongs to another user", str(directory))
    return found.st_mode


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its user may read, whole or not at all.

    Raises:
        OSError: it could not be written; what was there before stays.
    """
    _write(path, content, mode=0o600)


def write_public(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all. Everybody who may enter its folder may read it.

    Raises:
        OSError: it could not be written; what was there before stays.
    """
    _write(path, content, mode=0o644)


def read_bounded(path: Path, max_bytes: int) -> bytes:
    """The content of a file that another process has written. This neither waits nor takes much
    memory, whatever is there instead of such a file.

    Raises:
        OSError: it cannot be read, it is a link or no file, or it has more than `max_bytes`.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "it is not a file", str(path))
        with open(fd, "rb", closefd=False) as file:
            content = file.read(max_bytes + 1)
    finally:
        os.close(fd)
    if len(content) > max_bytes:
        raise OSError(errno.EFBIG, f"it has more than {max_bytes} bytes", str(path))
    return content


def _write(path: Path, content: bytes, *, mode: int) -> None:
    # The name says which process made it. If this process is killed here, `remove_leftovers` of the
    # next server can remove it.
    unfinished = path.with_name(f".{next_name()}")
    fd = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(fd, "wb") as file:
            os.fchmod(fd, mode)  # whatever the umask takes away
            file.write(content)
        os.replace(unfinished, path)
    except BaseException:
        os.unlink(unfinished)
        raise


def remove_leftovers(directory: Path) -> None:
    """Remove the files that killed servers left in a directory.

    Raises:
        OSError: the directory cannot be read.
    """
    for name in os.listdir(directory):
        owner = owner_of(name.removeprefix("."))
        if owner is None or owner.may_live:
            continue
        try:
            os.unlink(directory / name)
        except FileNotFoundError:  # another server has removed it meanwhile
            continue
        except OSError as error:  # a directory has this name; the files are still removed
            logger.debug("what a dead server left stays: %s", error)
            continue
        logger.info("removed what a dead server left file=%s", name, pid=owner.pid)
