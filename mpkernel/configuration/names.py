"""The names of a setting in each place where it can be set: `ping_timeout_s` in a file,
`MPKERNEL_PING_TIMEOUT_S` in the environment, `--ping-timeout-s` as a flag; and the error for a name
that is not a setting's."""

from __future__ import annotations

import difflib
from collections.abc import Callable

from mpkernel.errors import SettingsError
from mpkernel.settings import Settings

__all__ = ["FILE_VARIABLE", "flag_of", "named_by", "unknown", "variable_of"]

FILE_VARIABLE = "MPKERNEL_SETTINGS"

_PREFIX = "MPKERNEL_"
_NO_SETTINGS = (
    "MPKERNEL_ALLOW_ANY_MARIMO",
    "MPKERNEL_DISABLE",
    "MPKERNEL_PROCESS_MARK",
    "MPKERNEL_TEST_",
)


def flag_of(name: str) -> str:
    """A setting's flag."""
    return "--" + name.replace("_", "-")


def variable_of(name: str) -> str:
    """A setting's variable."""
    return _PREFIX + name.upper()


def named_by(variable: str) -> str | None:
    """The name of the setting that a variable sets, whether there is such a setting or not. None
    for a variable that sets none."""
    if not variable.startswith(_PREFIX) or variable.startswith(_NO_SETTINGS):
        return None
    return None if variable == FILE_VARIABLE else variable.removeprefix(_PREFIX).lower()


def unknown(
    place: str, name: str, *, as_written: Callable[[str], str] = lambda name: name
) -> SettingsError:
    """The error for a name that is not a setting's.

    Args:
        place: the name, with the place where it is written.
        name: the name alone.
        as_written: how a setting's name is written in that place.
    """
    close = difflib.get_close_matches(name, Settings.__struct_fields__, n=1)
    meant = f"did you mean {as_written(close[0])}? " if close else "remove it; "
    return SettingsError(
        f"{place} names no setting", remedy=f"{meant}`mpkernel settings` shows all"
    )
