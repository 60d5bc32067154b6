"""Running an app's process with another Python than the server's: what the two kinds share.

    given      the interpreter, or the virtual environment, that a setting names ─▶ given_python
    sandbox    the environment that the header of the app describes ──────────────▶ sandbox_python

Nothing is pickled for such a process, because another Python might not understand it: the command
line names what runs there. The process looks first whether its Python can do that, and then says
which Python and packages it has (`host.entering`); `handshake` judges that.

The other Python imports `mpkernel` and `shm` from a folder that holds these two alone. The folder
comes first until both are imported, so that they are the server's, whatever else is installed
there. Then it is the last of the import path: the app's own packages come first, and no other
package of the server's shows through. Nor do the variables with which the server's Python finds its
own.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

import shm
from mpkernel import errors
from mpkernel.errors import HostStartError, UnfitPython
from mpkernel.private_files import make_unwritable_by_others, sandbox_directory
from mpkernel.wire.before_host import UnfitForHost
from mpkernel.wire.frames import Channel, encode_header
from mpkernel.wire.messages import encode

__all__ = ["NEEDED", "Call", "OtherPython", "PythonOfApp", "program_of", "variables_for"]

NEEDED = "msgspec>=0.19"
"""What `mpkernel` and `shm` import in an app's process, as a requirement."""

# PYTHONSAFEPATH does what `-P` does. A Python before 3.11 ignores the variable, and would not start
# with the option: it could not say how old it is.
_SAFE_PATH = "PYTHONSAFEPATH"
_PROGRAM = """\
import os, sys
os.environ.pop({safe_path!r}, None)
if sys.version_info < (3, 11):
    os.write({fd}, {too_old!r})
    os._exit({code})
try:
    __import__("msgspec")
except ImportError as error:
    os.write({fd}, {no_msgspec!r})
    if error.name == "msgspec" and isinstance(error, ModuleNotFoundError):
        os._exit({code})
    raise
sys.path.insert(0, {folder!a})
import mpkernel, shm
sys.path.append(sys.path.pop(0))
from mpkernel.host.entering import enter
enter({entry!r}, {args!a}, {stream_fd}, {packages!a})
"""

_OF_THE_SERVER = ("PYTHON", "VIRTUAL_ENV", "CONDA_PREFIX")


class Call(NamedTuple):
    """What a process runs.

    Attributes:
        entry: "package.module:function".
        args: its arguments: numbers, texts, None, and lists of these.
        stream_fd: the descriptor of the stream Pipe, on which the process says what it is. None for
            a process without Pipes.
        packages: the names of the packages whose versions the process says.
    """

    entry: str
    args: tuple[object, ...]
    stream_fd: int | None = None
    packages: tuple[str, ...] = ()


class OtherPython(Protocol):
    """One launch of another Python."""

    @property
    def path(self) -> str:
        """Its program."""

    def command_line(self, call: Call, wrapper: Sequence[str] = ()) -> list[str]:
        """What is executed.

        Args:
            call: what runs in the process.
            wrapper: the command that starts this Python. Default: none.

        Raises:
            OSError, HostStartError: there is no room for what must be handed over.
        """

    @property
    def descriptors(self) -> tuple[int, ...]:
        """The descriptors that the process gets besides those that every process gets."""

    def environ(self, env: Mapping[str, str]) -> dict[str, str]:
        """The environment variables for the process."""

    def close(self) -> None:
        """Close the descriptors: the process was launched, and has copies of them."""


class PythonOfApp(Protocol):
    """The Python with which the processes of an app run."""

    @property
    def requirements(self) -> tuple[str, ...]:
        """What the app's kernels need there, as requirements."""

    @property
    def key(self) -> str:
        """Equal for two apps that may use the same standby."""

    @property
    def folder(self) -> str | None:
        """Absolute path of the environment that was made for the app; None if it was not made by
        this server."""

    @property
    def is_whole(self) -> bool:
        """Whether the Python exists, and can be used at once."""

    def python(self, stream_fd: int) -> OtherPython:
        """The Python for one launch. Returns at once: if an environment must be made first, the
        process makes it.

        Args:
            stream_fd: the descriptor on which the process tells what it does.

        Raises:
            HostStartError: it cannot be had.
        """

    def made(self, say: Callable[[str], None]) -> OtherPython:
        """The Python for one launch. If an environment must be made first, this waits until it is
        made.

        Args:
            say: called with each line about what is done meanwhile.

        Raises:
            HostStartError: it cannot be had.
        """


def program_of(path: str, call: Call) -> str:
    """The program that a Python gets with `-c`.

    Args:
        path: the Python's, for messages.
        call: what it runs.

    Raises:
        HostStartError: the folder with the server's packages cannot be made.
    """
    is_told = call.stream_fd is not None
    return _PROGRAM.format(
        safe_path=_SAFE_PATH,
        fd=call.stream_fd if is_told else 2,
        code=os.EX_CONFIG,
        too_old=_refusal(
            UnfitPython(
                f"{path} is older than Python 3.11", remedy="name a Python 3.11 or later for it"
            ),
            is_told=is_told,
        ),
        no_msgspec=_refusal(
            UnfitPython(
                f"{path} has no msgspec that can be imported",
                remedy=f"install it there: {path} -m pip install '{NEEDED}'",
            ),
            is_told=is_told,
        ),
        folder=_own_packages(),
        entry=call.entry,
        args=call.args,
        stream_fd=call.stream_fd,
        packages=call.packages,
    )


def variables_for(env: Mapping[str, str], environment: str | None) -> dict[str, str]:
    """Variables for a process: without those of the server's Python, and with those that name an
    active virtual environment.

    Args:
        env: what a process with the server's Python would get.
        environment: the folder of the process's virtual environment; None if it has none.
    """
    kept = {name: value for name, value in env.items() if not name.startswith(_OF_THE_SERVER)}
    kept[_SAFE_PATH] = "1"
    if environment is None:
        return kept
    path = env.get("PATH", os.defpath)
    programs = os.path.join(environment, "bin")
    return {**kept, "VIRTUAL_ENV": environment, "PATH": f"{programs}{os.pathsep}{path}"}


def _refusal(error: UnfitPython, *, is_told: bool) -> bytes:
    """What a process with an unfit Python writes: a frame for the server, or a line for people."""
    if not is_told:
        return os.fsencode(f"mpkernel: {error}\n")
    payload = encode(UnfitForHost(error.what, error.remedy))
    return encode_header(Channel.MANAGEMENT, 0, len(payload)) + payload


def _own_packages() -> str:
    """A folder with `mpkernel` and `shm` as the server has them, and nothing else.

    Raises:
        HostStartError: it cannot be made.
    """
    targets = {
        name: os.path.dirname(os.path.abspath(file))
        for name, file in (("mpkernel", errors.__file__), ("shm", shm.__file__))
    }
    digest = hashlib.sha256(msgspec.json.encode(targets, order="sorted")).hexdigest()[:16]
    folder = sandbox_directory().parent / "packages" / digest
    try:
        make_unwritable_by_others(folder)
        for name, target in targets.items():
            try:
                os.symlink(target, folder / name)
            except FileExistsError:
                continue
    except OSError as error:
        raise HostStartError(
            f"the folder for mpkernel's own packages in apps' processes cannot be made: {error}",
            remedy="set XDG_CACHE_HOME to a folder of this user",
        ) from error
    return str(folder)
