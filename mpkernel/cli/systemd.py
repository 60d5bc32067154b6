"""`mpkernel systemd PATH…`: a unit for systemd that runs `mpkernel run PATH…`, hardened."""

from __future__ import annotations

import math
import os
import pwd
import re
import sys
from collections.abc import Sequence

from mpkernel.cli.flags import no_such_option, paths_in, take_settings, unknown_options
from mpkernel.cli.paths import check_paths
from mpkernel.cli.units import Unit, text_of
from mpkernel.configuration.sources import gather
from mpkernel.errors import MPKernelError
from mpkernel.marimo_backend.defaults import DEFAULTS
from mpkernel.settings import Settings

__all__ = ["USAGE", "run"]

USAGE = """\
Usage: mpkernel systemd [--unit-name NAME] [--unit-user USER] [--unit-memory LIMIT]
                        PATH... [options of mpkernel run]

  Print a unit for systemd that runs `mpkernel run PATH... [options]` from the current directory,
  each line with what it is for.

  --unit-name NAME     the name that it will be installed by (default mpkernel)
  --unit-user USER     who it runs as (default: who prints it; root is refused)
  --unit-memory LIMIT  of the server and all apps together: 8G, or 75% of the machine (default 75%)

examples, for a server of the whole machine:
  mpkernel systemd --unit-user notebooks /srv/notebooks --port 2718 --headless --no-token \\
    | sudo tee /etc/systemd/system/mpkernel.service
  sudo systemctl daemon-reload && sudo systemctl enable --now mpkernel
"""

_DEFAULTS = {"--unit-name": "mpkernel", "--unit-user": "", "--unit-memory": "75%"}
_FORMS = {
    "--unit-name": re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*"),
    "--unit-user": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*"),
    "--unit-memory": re.compile(r"\d+[KMGT]?|\d{1,3}%"),
}
_SLACK_S = 5
"""Time for what follows the last app's end: marimo's shutdown, files, the interpreter's end."""


def run(arguments: Sequence[str]) -> int:
    """Print a unit; give the exit code.

    Args:
        arguments: what follows `mpkernel systemd`.

    Raises:
        SettingsError: some setting is unknown or impossible.
        MPKernelError: a path is missing, or an option is not available.
    """
    own, rest = _split(arguments)
    if not rest:
        print(f"{USAGE}\nmpkernel: no notebook and no folder is named", file=sys.stderr)
        return 2
    if {"-h", "--help"} & set(_before_dashes(rest)):
        print(USAGE, end="")
        return os.EX_OK
    stop_s = _stop_s(_settings_of(rest))
    user = own["--unit-user"] or _own_user()
    if user in ("root", "0"):
        raise MPKernelError(
            "the unit would run notebooks as root", remedy="name another user with --unit-user"
        )
    unit = Unit(
        name=own["--unit-name"],
        user=user,
        memory=own["--unit-memory"],
        folder=os.getcwd(),
        command=(sys.executable, "-m", "mpkernel", "run", *_headless(rest), *rest),
        stop_s=stop_s,
    )
    print(text_of(unit), end="")
    return os.EX_OK


def _split(arguments: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Our own options, before or after the paths, and the rest."""
    own = dict(_DEFAULTS)
    words = _before_dashes(arguments)
    after = list(arguments[len(words) :])
    rest = []
    while words:
        word = words.pop(0)
        option, separator, value = word.partition("=")
        if option not in own:
            rest.append(word)
            continue
        if not separator:
            value = words.pop(0) if words else ""
        if not _FORMS[option].fullmatch(value):
            raise MPKernelError(
                f"{option} is {value!r}, which systemd would not take",
                remedy="`mpkernel systemd --help` shows what it takes",
            )
        own[option] = value
    return own, rest + after


def _own_user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # a user id without a user name
        return str(os.geteuid())


def _settings_of(arguments: Sequence[str]) -> Settings:
    """The settings that the server will have. It inherits nothing of the present environment."""
    from mpkernel.marimo_backend.command_line import options_with_value
    from mpkernel.marimo_backend.versions import check_marimo

    check_marimo()
    taken = take_settings(_before_dashes(arguments))
    paths = paths_in(taken.others, options_with_value())
    for name, meant in unknown_options(taken.others, [*_DEFAULTS]):
        raise no_such_option(name, meant)
    check_paths(paths)
    if not paths and "--examples" not in taken.others:
        raise MPKernelError(
            "no notebook and no folder is named", remedy="`mpkernel systemd --help` shows where"
        )
    return gather(taken.sources({}, paths), DEFAULTS).settings


def _headless(arguments: Sequence[str]) -> list[str]:
    """A service has nobody at its screen: no browser is opened."""
    is_said = {"--headless", "--no-headless"} & set(_before_dashes(arguments))
    return [] if is_said else ["--headless"]


def _before_dashes(arguments: Sequence[str]) -> list[str]:
    words = list(arguments)
    return words[: words.index("--")] if "--" in words else words


def _stop_s(settings: Settings) -> int:
    return math.ceil(settings.drain_grace_s + settings.stop_grace_s) + _SLACK_S
