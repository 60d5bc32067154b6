"""Turns what is written for a setting, as text or in TOML, into its value, and back.

A size is a number of bytes, or text such as "2GiB". A duration is a number of seconds. "none"
stands for None, also in TOML, which has no word for it. Names in text are separated by commas.
"""

from __future__ import annotations

import re
import types
from decimal import Decimal
from typing import Any, Literal, Union, get_args, get_origin

import msgspec

from mpkernel.settings import Settings

__all__ = ["as_text", "expected", "from_text", "from_toml", "is_setting", "kind_of", "size_of"]

_UNITS = {
    "": 1,
    "b": 1,
    **{f"{letter}b": 1000**power for power, letter in enumerate("kmgt", start=1)},
    **{f"{letter}ib": 1024**power for power, letter in enumerate("kmgt", start=1)},
}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", re.ASCII)
_BINARY = (("TiB", 1024**4), ("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024))

_TYPES: dict[str, Any] = {field.name: field.type for field in msgspec.structs.fields(Settings)}

_TEXTS = {"launch_wrapper": "command", "cluster": "address"}
"""What the settings are that are text, and no path."""

_EXPECTED = {
    "address": "an address, such as tls://host:8786",
    "size": "a number of bytes, or a size such as 500MB or 2GiB",
    "seconds": "a number of seconds",
    "number": "a whole number",
    "true or false": "true or false",
    "path": "a path",
    "command": "a command, with its words as for a shell",
    "numbers": "whole numbers (with commas between them, or as a list)",
    "names": "names (with commas between them, or as a list)",
}


def is_setting(name: str) -> bool:
    """Whether there is a setting of this name."""
    return name in _TYPES


def from_text(name: str, text: str) -> Any:
    """The value of a setting that a flag or a variable gives.

    Raises:
        ValueError: the setting does not take that.
    """
    words = text.strip()
    kind = kind_of(name)
    is_none = words.lower() == "none" and kind.endswith(" or none")
    if kind.startswith(("names", "numbers")) and not is_none:
        parts = tuple(part.strip() for part in words.split(",") if part.strip())
        return _converted(name, parts, strict=False)
    if words.lower() == "none":
        return _converted(name, None, strict=True)
    return _converted(name, size_of(words) if _is_size(name) else words, strict=False)


def from_toml(name: str, value: object) -> Any:
    """The value of a setting that stands in a TOML file.

    Raises:
        ValueError: the setting does not take that.
    """
    if isinstance(value, str):
        if kind_of(name).startswith(("names", "numbers")):
            return from_text(name, value)
        if value.strip().lower() == "none":
            return _converted(name, None, strict=True)
        if _is_size(name):
            return size_of(value)
    return _converted(name, value, strict=True)


def size_of(text: str) -> int:
    """The number of bytes of "1048576", "1MiB", "1.5 GB".

    Raises:
        ValueError: it is not a size.
    """
    match = _SIZE.fullmatch(text)
    unit = _UNITS.get(match[2].lower()) if match else None
    if match is None or unit is None:
        raise ValueError(f"{text!r} is not a size")
    return int(Decimal(match[1]) * unit)


def as_text(name: str, value: object) -> str:
    """A value as `from_text` takes it, sizes in the largest unit that leaves them whole."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    if isinstance(value, float):
        return f"{value:.15g}"
    if isinstance(value, int) and _is_size(name):
        for unit, size in _BINARY:
            if value and value % size == 0:
                return f"{value // size}{unit}"
    return str(value)


def kind_of(name: str) -> str:
    """What a setting takes, in a word or two: "size or none"."""
    of_type = _TYPES[name]
    options = get_args(of_type) if get_origin(of_type) in (Union, types.UnionType) else (of_type,)
    is_optional = type(None) in options
    (wanted,) = [option for option in options if option is not type(None)]
    if get_origin(wanted) is tuple:
        kind = "numbers" if int in get_args(wanted) else "names"
    elif get_origin(wanted) is Literal:
        kind = " or ".join(get_args(wanted))
    elif wanted is str:
        kind = _TEXTS.get(name, "path")
    elif wanted is bool:
        kind = "true or false"
    elif name.endswith("_bytes"):
        kind = "size"
    else:
        kind = "seconds" if name.endswith("_s") else "number"
    return f"{kind} or none" if is_optional else kind


def expected(name: str) -> str:
    """The same in words for an error."""
    kind, separator, _ = kind_of(name).partition(" or none")
    return _EXPECTED.get(kind, kind) + separator


def _is_size(name: str) -> bool:
    return name.endswith("_bytes")


def _converted(name: str, value: object, *, strict: bool) -> Any:
    try:
        return msgspec.convert(value, _TYPES[name], strict=strict)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from error
