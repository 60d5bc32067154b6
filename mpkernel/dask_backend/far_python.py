"""`FarPython`: the Python of a process on a worker's machine. The outpost looks it up there; the
server judges here whether it fits.

server ─ WantedPython ─▶ outpost ─ looks it up ─▶ Launched, with its path; or NotLaunched
   ▲                                                │
   └── Preparing, Prepared, Hello ◀──────────────── the process itself, as on this machine
"""

from __future__ import annotations

from mpkernel.dask_backend.messages import Launched, NotLaunched, Unfit
from mpkernel.errors import ProtocolError, UnfitPython
from mpkernel.server.launching.handshake import misfit
from mpkernel.server.launching.wanted_python import WantedPython
from mpkernel.version import __version__
from mpkernel.wire.before_host import PROTOCOL, Hello, NotPlaced, NotPrepared, UnfitForHost

__all__ = ["FarPython", "said_of"]


class FarPython:
    """What the server knows about the Python of a `FarProcess`. On the loop's thread.

    Args:
        wanted: what the app asks for; None: the worker's.
        is_wrapped: whether a command starts it.

    Attributes:
        python, requirements, environment, is_known: see `Process`. The first three are those of the
            worker's own Python until the outpost has told of another one.
        where: see `Elsewhere`.
    """

    def __init__(self, wanted: WantedPython | None, *, is_wrapped: bool) -> None:
        self.where = ""
        self.python = "the worker's Python"
        self.requirements: tuple[str, ...] | None = None
        self.environment: str | None = None
        self.is_known = True
        self._wanted = wanted
        self._is_wrapped = is_wrapped

    def accept(self, hello: Hello) -> UnfitPython | None:
        """See `Process.accept`.

        Raises:
            ProtocolError: it was not asked, or says it again.
        """
        if self.is_known:
            raise ProtocolError("it says which Python it has, and was not asked")
        self.is_known = True
        if (hello.protocol, hello.mpkernel) != (PROTOCOL, __version__):
            return UnfitPython(
                f"the files of mpkernel on the disk of the worker {self.where} are now those of"
                f" {hello.mpkernel[:50]}, and this server runs {__version__}",
                remedy="install the server's version there, and restart the worker",
            )
        error = misfit(hello, self.python, self.requirements or ())
        if error is None:
            return None
        return UnfitPython(f"the worker {self.where}: {error.what}", remedy=error.remedy)

    def found(self, news: Launched) -> None:
        """The outpost has launched the process with this Python.

        Raises:
            ProtocolError: none was asked for.
        """
        self.is_known = not (self._is_wrapped or news.is_other)
        if news.python is not None:
            self.python = news.python
        if not news.is_other:
            return
        if self._wanted is None:
            raise ProtocolError("an outpost tells of a Python that was not asked for")
        self.requirements = self._wanted.requirements
        self.environment = news.environment


def said_of(news: NotLaunched, where: str) -> NotPlaced | NotPrepared | UnfitForHost:
    """The message that tells the server why a process was not launched.

    Args:
        news: what the outpost says.
        where: the worker.
    """
    match news.unfit:
        case Unfit.PYTHON:
            return UnfitForHost(news.what, news.remedy)
        case Unfit.ENVIRONMENT:
            return NotPrepared(news.what, news.remedy)
        case None:
            return NotPlaced(f"the worker {where}: {news.what}", news.remedy)
