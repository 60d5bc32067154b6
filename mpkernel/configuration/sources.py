"""`gather`: the settings that hold here, each with where it comes from.

    flags ─▶ the environment ─▶ [tool.mpkernel] of a file ─▶ defaults      the first with a value

For an app that matches a rule in `[[tool.mpkernel.apps]]`, the rule's values come before all of
these. A name that is unknown, or a value that is impossible, is refused; the error says where it is
written.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, TypeAlias

import msgspec

from mpkernel.configuration.apps import AppRule
from mpkernel.configuration.file import SettingsFile, find_settings_file, read_settings_file
from mpkernel.configuration.names import FILE_VARIABLE, flag_of, named_by, unknown, variable_of
from mpkernel.configuration.values import expected, from_text, is_setting
from mpkernel.errors import SettingsError
from mpkernel.settings import Settings

__all__ = ["Gathered", "Kind", "Origin", "Sources", "check_given", "gather"]

Kind: TypeAlias = Literal["flag", "environment", "file", "app", "default"]


class Sources(NamedTuple):
    """Where settings are looked for.

    Attributes:
        environ: such as `os.environ`. Its variables are `MPKERNEL_` and a setting's name in
            capitals.
        folder: where the search for a `pyproject.toml` begins; it goes upward. Default: no search.
        flags: the text of each flag, by the setting's name.
        file: the file to read. Default: the one that `MPKERNEL_SETTINGS` names, else the one that
            the search finds.
    """

    environ: Mapping[str, str] = {}
    folder: str | None = None
    flags: Mapping[str, str] = {}
    file: str | None = None


class Origin(NamedTuple):
    """Where a value comes from.

    Attributes:
        kind: which kind of place.
        place: which one: a flag, a variable, a file's path; "" for a default.
    """

    kind: Kind
    place: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.place}".rstrip()


class Gathered(msgspec.Struct, frozen=True):
    """The settings that hold, and those of some apps.

    Attributes:
        settings: the settings of an app that no rule matches.
        origins: where the value of each setting comes from.
        rules: the first rule that matches an app changes the app's settings.
        file: the file that was read, if any.
    """

    settings: Settings
    origins: dict[str, Origin]
    rules: tuple[AppRule, ...] = ()
    file: str | None = None

    def of_app(self, app: str) -> Gathered:
        """The settings of one app, and where they come from."""
        rule = next((rule for rule in self.rules if rule.matches(app)), None)
        if rule is None:
            return self
        changed = dict.fromkeys(rule.changes, Origin("app", f"{self.file} ({rule.path})"))
        return Gathered(rule.applied(self.settings), self.origins | changed, (rule,), self.file)


def gather(sources: Sources, defaults: Settings | None = None) -> Gathered:
    """The settings that hold.

    Args:
        sources: where they are looked for.
        defaults: the values of settings that no source sets. Default: `Settings()`.

    Raises:
        SettingsError: a name is unknown, a value is impossible, a file cannot be read.
    """
    base = defaults if defaults is not None else Settings()
    file = _file(sources)
    values: dict[str, Any] = {}
    origins = dict.fromkeys(Settings.__struct_fields__, Origin("default"))
    if file is not None:
        values |= file.values
        origins |= dict.fromkeys(file.values, Origin("file", file.path))
    given, given_by = _given(sources)
    values |= given
    origins |= given_by
    rules = file.rules if file is not None else ()
    found = Gathered(_made(base, values, origins), origins, rules, file.path if file else None)
    for rule in rules:
        _check_rule(found, rule)
    return found


def check_given(sources: Sources) -> None:
    """Refuse what `gather` would refuse in the environment or in a flag, whatever the file says.

    Raises:
        SettingsError: a name is unknown, or a text is none that its setting takes.
    """
    _given(sources)


def _given(sources: Sources) -> tuple[dict[str, Any], dict[str, Origin]]:
    """The values of the environment and the flags, and where each comes from."""
    values: dict[str, Any] = {}
    origins: dict[str, Origin] = {}
    for variable, text in sources.environ.items():
        name = named_by(variable)
        if name is not None:
            values[name] = _read(name, text, f"{variable} in the environment")
            origins[name] = Origin("environment", variable)
    for name, text in sources.flags.items():
        values[name] = _read(name, text, flag_of(name))
        origins[name] = Origin("flag", flag_of(name))
    return values, origins


def _file(sources: Sources) -> SettingsFile | None:
    named = sources.file or sources.environ.get(FILE_VARIABLE)
    if named:
        return read_settings_file(named)
    return find_settings_file(sources.folder) if sources.folder is not None else None


def _read(name: str, text: str, place: str) -> Any:
    if not is_setting(name):
        raise unknown(place, name, as_written=variable_of)
    try:
        return from_text(name, text)
    except ValueError as error:
        raise SettingsError(f"{place} is {text!r}", remedy=f"it takes {expected(name)}") from error


def _made(base: Settings, values: dict[str, Any], origins: Mapping[str, Origin]) -> Settings:
    try:
        return msgspec.structs.replace(base, **values)
    except SettingsError as error:
        raise _placed(error, origins) from error


def _check_rule(found: Gathered, rule: AppRule) -> None:
    try:
        rule.applied(found.settings)
    except SettingsError as error:
        changed = dict.fromkeys(rule.changes, Origin("app", f"{found.file} ({rule.path})"))
        raise _placed(error, found.origins | changed) from error


def _placed(error: SettingsError, origins: Mapping[str, Origin]) -> SettingsError:
    """The same error, which also says where the settings that it names were set."""
    named = (name for name in origins if re.search(rf"\b{name}\b", error.what))
    places = dict.fromkeys(str(origins[name]) for name in named)
    return SettingsError(f"{error.what}; set by: {', '.join(places)}", remedy=error.remedy)
