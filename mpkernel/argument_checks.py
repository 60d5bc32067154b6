"""`check_argument`: refuses an argument of a wrong type where a user of the library passes it.

Without it, the error would come later, from a place that the user does not know, or not at all.
"""

from __future__ import annotations

__all__ = ["check_argument"]

_MOST_CHARACTERS = 80


def check_argument(name: str, value: object, kind: type | tuple[type, ...], wanted: str) -> None:
    """Check that an argument has the type that is asked for.

    Args:
        name: of the argument.
        value: what the caller passed.
        kind: the type that it must have, or a choice of types.
        wanted: what to pass, as the end of a sentence: "a KernelSpec, as in KernelSpec(…)".

    Raises:
        TypeError: it has another type.
    """
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be {wanted}, not {_shown(value)}")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}…"
