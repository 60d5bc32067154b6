"""The options of `marimo run` that all supported versions have. Imports nothing of marimo.

With them a command line can be understood, and refused, before marimo is imported, which takes a
second. An option that is not here is left to marimo.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["FLAGS", "WITH_VALUE", "paths_if_known"]

WITH_VALUE = frozenset(
    {
        "--allow-origins",
        "--base-url",
        "--host",
        "--port",
        "--proxy",
        "--session-ttl",
        "--token-password",
        "--token-password-file",
        "-p",
    }
)
"""Those that a value follows."""

FLAGS = frozenset(
    {
        "--check",
        "--headless",
        "--include-code",
        "--no-check",
        "--no-skew-protection",
        "--no-token",
        "--redirect-console-to-browser",
        "--skew-protection",
        "--token",
        "--trusted",
        "--untrusted",
        "--watch",
    }
)
"""Those without a value."""


def paths_if_known(options: Sequence[str]) -> list[str] | None:
    """The paths among these options; None if an option is not known here, so that only marimo knows
    whether a value follows it.

    Args:
        options: of `mpkernel run`, without its own and those of settings.
    """
    paths = []
    rest = iter(options)
    for option in rest:
        name, separator, _ = option.partition("=")
        if not option.startswith("-"):
            paths.append(option)
        elif option in WITH_VALUE:
            next(rest, None)
        elif option not in FLAGS and not (separator and name in WITH_VALUE):
            return None
    return paths
