"""Whose session it is: who is the same from request to request, and who is another."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from starlette.authentication import AuthCredentials, BaseUser, SimpleUser

from mpkernel.marimo_backend.server.authority import authority_of


def scope_of(user: Any, root_path: str = "", scopes: tuple[str, ...] = ("read",)) -> dict[str, Any]:
    return {"auth": AuthCredentials(list(scopes)), "user": user, "root_path": root_path}


class Odd(BaseUser):
    """A user of whom nothing is known."""


@pytest.mark.parametrize(
    ("user", "again", "other"),
    [
        (SimpleUser("ann"), SimpleUser("ann"), SimpleUser("eve")),
        ({"id": 7, "seen": 1}, {"id": 7, "seen": 2}, {"id": 8, "seen": 1}),
        (SimpleNamespace(email="a@x"), SimpleNamespace(email="a@x"), SimpleNamespace(email="b@x")),
        ("ann", "ann", "eve"),
        ("ann\udce9", "ann\udce9", "ann\\udce9"),  # a byte that is no UTF-8
        (SimpleUser("ann\udce9"), SimpleUser("ann\udce9"), SimpleUser("ann\udcea")),
        (None, None, "ann"),
    ],
)
def test_a_user_is_told_from_others(user: Any, again: Any, other: Any) -> None:
    authority = authority_of(scope_of(user), "token")
    assert authority is not None
    assert authority == authority_of(scope_of(again), "token")
    assert authority != authority_of(scope_of(other), "token")
    assert authority != authority_of(scope_of(user), "another token")
    assert authority != authority_of(scope_of(user, root_path="/mounted"), "token")


@pytest.mark.parametrize("user", [Odd(), {}, {"seen": 1}, object(), {"id": None}, {"id": []}])
def test_nobody_gets_the_session_of_a_user_who_cannot_be_told_from_others(user: Any) -> None:
    assert authority_of(scope_of(user), "token") is None


@pytest.mark.parametrize("scope", [scope_of("ann", scopes=()), {"user": "ann"}])
def test_nobody_gets_a_session_who_is_not_let_in(scope: dict[str, Any]) -> None:
    assert authority_of(scope, "token") is None
