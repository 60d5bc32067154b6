"""Placement: which process of an app gets a session. It only decides; `app` does what it says.

the app's hosts ─▶ choose ─▶ the host that gets the session
                         └─▶ None: launch one
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

__all__ = ["Candidate", "choose"]


class Candidate(Protocol):
    """What is looked at of a host."""

    @property
    def takes_sessions(self) -> bool:
        """Whether a new session may be opened there, as far as its life goes."""

    @property
    def refusal(self) -> str | None:
        """Why it takes no new sessions although it lives; None when it does."""


CandidateT = TypeVar("CandidateT", bound=Candidate)


def choose(hosts: Sequence[CandidateT]) -> CandidateT | None:
    """The host that gets the next session: the one that was launched last, of those that take some.
    None: there is none, and one is to be launched.

    A host that refuses sessions is chosen where no other takes any: its app is not to grow beyond
    the limit that the host has reached, so its refusal is the app's.

    Args:
        hosts: the app's, in the order of their launch.
    """
    taking = [host for host in reversed(hosts) if host.takes_sessions]
    return next((host for host in taking if host.refusal is None), taking[0] if taking else None)
