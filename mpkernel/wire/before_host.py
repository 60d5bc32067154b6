"""What a process says before it is a host: that it waits for a machine or makes an environment,
which Python it has, or that it cannot run a host. Like those in `messages`, these are messages of
the management channel.
"""

from __future__ import annotations

import msgspec

from mpkernel.wire.for_people import ForPeople

__all__ = [
    "PROTOCOL",
    "Hello",
    "NotConfined",
    "NotPlaced",
    "NotPrepared",
    "Prepared",
    "Preparing",
    "UnfitForHost",
]

PROTOCOL = 4
"""The number of this protocol: one more with each change that an older server, or an older host,
would not understand."""


class Preparing(ForPeople, tag="preparing", frozen=True):
    """The process waits for a machine, or makes the environment in which the app shall run, and is
    not a host yet.

    Attributes:
        text: what is done now, a line for people.
    """

    text: str


class Prepared(msgspec.Struct, tag="prepared", frozen=True):
    """The machine was found, or the environment is whole: the process becomes a host there."""


class _NoHost(ForPeople, frozen=True):
    """The process does not become a host. Each class of it is a reason.

    Attributes:
        what: why.
        remedy: what the reader can do about it.
    """

    what: str
    remedy: str


class NotPrepared(_NoHost, tag="not_prepared", frozen=True):
    """The environment could not be made. The process ends."""


class UnfitForHost(_NoHost, tag="unfit_for_host", frozen=True):
    """The Python of this process cannot run a host. The process ends."""


class NotPlaced(_NoHost, tag="not_placed", frozen=True):
    """No machine was found for the process, or it could not be launched there. The server's end
    says this for it."""


class NotConfined(_NoHost, tag="not_confined", frozen=True):
    """The process could not give up what its app must not do. It reads nothing of the app, and
    waits for its end."""


class Hello(msgspec.Struct, tag="hello", frozen=True, kw_only=True):
    """The process has another Python than the server, or was started by a wrapper, and can import
    mpkernel there.

    Attributes:
        protocol: see `PROTOCOL`.
        pid: its process id, in its own pid namespace. It is not that of the process that was
            launched where a wrapper has started it.
        namespace: the inode of that namespace; 0 where there are none.
        sees_itself: whether /proc tells it of itself.
        mpkernel, python, msgspec: the versions that it has.
        packages: the versions of the packages that it was asked for; None for one that is missing.
    """

    protocol: int
    pid: int
    namespace: int
    sees_itself: bool
    mpkernel: str
    python: str
    msgspec: str
    packages: dict[str, str | None]
