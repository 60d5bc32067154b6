"""`authority_of`: who may have a session back, by what the request for it says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

__all__ = ["authority_of"]

_NAMES = ("identity", "id", "sub", "username", "email", "name", "display_name")
"""What a user is told apart by, the surest first."""


def authority_of(scope: Mapping[str, Any], token: str) -> str | None:
    """A text that says who has opened a session: a request with the same text may have the session
    back. None: nobody may, because the user cannot be told apart from others, or is not let in.

    Args:
        scope: of ASGI. `scope["auth"]` says what is allowed, and `scope["user"]` is whatever
            middleware of the server has put there.
        token: what pages must present to marimo; "" for nothing.
    """
    if "read" not in getattr(scope.get("auth"), "scopes", ()):
        return None
    user = _user_of(scope.get("user"))
    if user is None:
        return None
    # A notebook that is mounted twice is two, each with its own names of sessions.
    parts = (str(scope.get("root_path", "")), token, user)
    try:
        return msgspec.json.encode(parts).decode()
    except UnicodeEncodeError:  # middleware has decoded bytes that are no UTF-8
        return json.dumps(parts)


def _user_of(user: object) -> str | None:
    """What identifies a user, the same in each request; None if nothing does."""
    match user:
        case None:
            return ""
        case str() | int():
            return f"user={user}"
        case Mapping():
            found = {name: user[name] for name in _NAMES if name in user}
        case _:
            found = {name: _attribute(user, name) for name in _NAMES}
    for name, value in found.items():
        if isinstance(value, str | int) and value:
            return f"{name}={value}"
    return None


def _attribute(user: object, name: str) -> object:
    try:
        return getattr(user, name, None)
    except Exception:  # noqa: BLE001 (code of the server's program; Starlette's raises where a class has none)
        return None
