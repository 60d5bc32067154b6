"""`Owner`: what a host needs of its owner, which is its app."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from mpkernel.errors import MPKernelError
from mpkernel.server.sessions.app_and_host import AppOfSession
from mpkernel.server.sessions.base import BaseSession
from mpkernel.server.supervision.deaths import Cause, Death
from mpkernel.server.supervision.usage import Usage

__all__ = ["Owner"]

HostT = TypeVar("HostT", contravariant=True)


class Owner(AppOfSession[BaseSession], Protocol[HostT]):
    """The app of a host. Called on the loop's thread.

    Of each process that ends, it is told in this order: `fell` and `died`, or `left`; then
    `host_over`. Before, and in between, `host_changed` may come.

    Attributes:
        import_folders: folders from which its processes import before all others, besides the
            app's own folder.
    """

    import_folders: tuple[str, ...]

    @property
    def is_closed(self) -> bool:
        """Whether it starts no process any more, so that no session comes back."""

    @property
    def waiting_count(self) -> int:
        """How many sessions wait for a process."""

    def host_changed(self, host: HostT) -> None:
        """The process became ready, or takes no sessions any more. Returns at once."""

    def may_retire(self, host: HostT) -> bool:
        """Whether the process may leave because it has no sessions."""

    def fell(self, host: HostT, cause: Cause) -> None:
        """The process ended without having been asked. `died` follows, once the reason is known.

        Args:
            host: the host of that process.
            cause: who has caused the end.
        """

    def died(
        self,
        death: Death,
        error: MPKernelError,
        sessions: list[BaseSession],
        usages: Sequence[Usage],
    ) -> None:
        """Why the process ended.

        Args:
            death: the reason, for logs and operators.
            error: the same, for those sessions that do not come back.
            sessions: the sessions that were on it.
            usages: the latest samples of what it used.
        """

    def left(self, sessions: list[BaseSession], error: MPKernelError) -> None:
        """These sessions have no process any more: theirs left in order, or could not start their
        kernel."""

    def host_over(self, host: HostT) -> None:
        """The process has ended, whatever the reason, and all is cleaned up."""
