"""The flags of settings. Each setting has a flag with a value (`--memory-hard-bytes 2GiB`); those
that are true or false are also switched off by a flag without one (`--no-control`). And
`--settings FILE` names a file.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from mpkernel.cli.parsers import similar
from mpkernel.configuration.names import flag_of
from mpkernel.configuration.sources import Sources
from mpkernel.configuration.values import kind_of
from mpkernel.errors import MPKernelError, SettingsError
from mpkernel.settings import Settings

__all__ = ["Taken", "no_such_option", "paths_in", "take_settings", "unknown_options"]

_FILE = "--settings"
_SANDBOX = "--sandbox"
_ALONE = flag_of("cluster_upload")
_SWITCHES = ("true", "false")
_NAMES = {flag_of(name): name for name in Settings.__struct_fields__}
_SWITCHED_OFF = {
    f"--no{flag_of(name)[1:]}": name
    for name in Settings.__struct_fields__
    if kind_of(name) == "true or false"
}


class Taken(NamedTuple):
    """The settings that a command line contains.

    Attributes:
        others: all other words of the command line.
        flags: the text of each setting by its name; the last one where a flag is repeated.
        file: the file that `--settings` names.
    """

    others: list[str]
    flags: dict[str, str]
    file: str | None

    def sources(self, environ: Mapping[str, str], paths: Sequence[str]) -> Sources:
        """Where the settings of a server of these paths are looked for: in a file that is nearest
        to the folder that has them all; without paths, to the current directory."""
        return Sources(environ, _folder_of(paths), self.flags, self.file)


def take_settings(options: Sequence[str]) -> Taken:
    """Split the options of a command.

    Raises:
        SettingsError: an option lacks its value.
        MPKernelError: another program than uv is to make environments.
    """
    taken = Taken([], {}, None)
    rest = iter(_with_switches_said(options))
    for option in rest:
        if option in _SWITCHED_OFF:
            taken.flags[_SWITCHED_OFF[option]] = "false"
            continue
        flag, separator, value = option.partition("=")
        if flag != _FILE and flag not in _NAMES:
            taken.others.append(option)
            continue
        text = value if separator else next(rest, None)
        if text is None:
            raise SettingsError(f"{flag} lacks its value", remedy="`mpkernel settings` shows all")
        if flag == _FILE:
            taken = taken._replace(file=text)
        else:
            taken.flags[_NAMES[flag]] = text
    return taken


def _with_switches_said(options: Sequence[str]) -> list[str]:
    """The options, with a value for each `--cluster-upload`, which needs none, and for each
    `--sandbox`, which needs none either, and takes that of marimo."""
    said = []
    rest = list(options)
    while rest:
        option = rest.pop(0)
        flag, separator, value = option.partition("=")
        if option == _ALONE and not (rest and rest[0] in _SWITCHES):
            said.append(f"{option}=true")
            continue
        if flag != _SANDBOX:
            said.append(option)
            continue
        if not separator and rest and rest[0] in ("uv", "pixi", *_SWITCHES):
            value = rest.pop(0)
        if value not in ("", "uv", *_SWITCHES):
            raise MPKernelError(
                f"--sandbox is {value!r}: environments of apps are made by uv",
                remedy="say --sandbox alone",
            )
        said.append(f"{_SANDBOX}={value if value in _SWITCHES else 'true'}")
    return said


def paths_in(options: Sequence[str], with_value: Collection[str]) -> list[str]:
    """The paths to serve: the words that are neither an option nor the value of an option.

    Args:
        options: of `mpkernel run`.
        with_value: the options that take a value.
    """
    paths = []
    rest = iter(options)
    for option in rest:
        if option in with_value:
            next(rest, None)
        elif not option.startswith("-"):
            paths.append(option)
    return paths


def _folder_of(paths: Sequence[str]) -> str:
    if not paths:
        return os.getcwd()
    real = [os.path.realpath(path) for path in paths]
    return os.path.commonpath(
        [path if os.path.isdir(path) else os.path.dirname(path) for path in real]
    )


def unknown_options(options: Sequence[str], others: Sequence[str] = ()) -> list[tuple[str, str]]:
    """The options that neither a setting nor `marimo run` has, each with what was probably meant,
    as `similar` says it.

    Args:
        options: of `mpkernel run`, without the flags of settings.
        others: the options of the command itself.
    """
    from mpkernel.marimo_backend.command_line import has_option, options_of_run

    flags = [flag_of(name) for name in Settings.__struct_fields__]
    known = [*flags, _FILE, "--examples", *others, *options_of_run()]
    names = [option.partition("=")[0] for option in options]
    return [
        (name, similar(name, known))
        for name in names
        if name.startswith("--") and name not in known and not has_option(name)
    ]


def no_such_option(name: str, meant: str) -> MPKernelError:
    """The error for such an option."""
    return MPKernelError(
        f"there is no option {name}{meant}",
        remedy="`mpkernel run --help` shows all options, `mpkernel settings` all settings",
    )
