"""What an app on another machine cannot have, refused by name."""

from __future__ import annotations

from mpkernel.errors import ClusterError
from mpkernel.settings import Settings

__all__ = ["refuse_what_only_this_machine_has"]


def refuse_what_only_this_machine_has(name: str, settings: Settings) -> None:
    """Check that nothing was asked for an app that its process on another machine cannot have.

    Args:
        name: the app's short name.
        settings: the app's.

    Raises:
        ClusterError: a setting asks for such a thing.
    """
    asked = {
        "confine": settings.confine != "off",
        "launch_wrapper": settings.launch_wrapper is not None,
    }
    for setting, is_asked in asked.items():
        if is_asked:
            raise ClusterError(
                f"{name} cannot run on a cluster with the setting {setting}, which a process of"
                " this machine alone can have",
                remedy=f"unset {setting} for this app, or run the app on this machine",
            )
