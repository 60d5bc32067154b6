"""What another worker gets of a request's scope."""

from __future__ import annotations

import datetime
import enum
import uuid
from typing import Any, NamedTuple

import msgspec
import pytest
from starlette.authentication import AuthCredentials, SimpleUser

from mpkernel.errors import ProtocolError
from mpkernel.marimo_backend.carried import Carried, NotCarried
from mpkernel.marimo_backend.server.authority import authority_of
from mpkernel.marimo_backend.server.handed_scope import scope_as_bytes, scope_of_bytes

SCOPE: dict[str, Any] = {
    "type": "http",
    "path": "/a/b",
    "headers": [(b"host", b"x"), (b"cookie", b"\xff")],
    "client": ("1.2.3.4", 5),
    "server": ("127.0.0.1", 80),
    "query_string": b"a=b",
    "root_path": "/a",
}


class Role(enum.Enum):
    ADMIN = 1


class Person:
    def __init__(self) -> None:
        self.id = uuid.UUID(int=7)
        self.role = Role.ADMIN
        self.friends = [Pair("a", 1)]
        self.greet = lambda: "hello"

    @property
    def name(self) -> str:
        return "Ada"

    @property
    def secret(self) -> str:
        raise PermissionError("not for you")


class Pair(NamedTuple):
    word: str
    number: int


def handed(**more: object) -> dict[str, Any]:
    return scope_of_bytes(scope_as_bytes({**SCOPE, **more}))


def test_what_is_asgis_and_plain_data_arrive_as_they_are() -> None:
    meta = {
        "day": datetime.date(2026, 1, 2),
        "at": datetime.datetime(2026, 1, 2, 3, tzinfo=datetime.UTC),
        "id": uuid.UUID(int=9),
        "pair": (1, "2", None),
        "set": {1.5},
        "large": 2**70,
        "no UTF-8": "caf\udce9",
        "by number": {1: b"x"},
    }
    assert handed(meta=meta) == {**SCOPE, "meta": meta, "extensions": {}}


def test_an_object_arrives_as_its_data_and_the_same_user_is_known() -> None:
    scope = handed(user=Person(), auth=AuthCredentials(["read"]))
    user = scope["user"]
    assert isinstance(user, Carried)
    assert (user.id, user.name, user.role.value) == (uuid.UUID(int=7), "Ada", 1)
    assert user.friends == [("a", 1)]
    assert isinstance(user.greet, NotCarried)
    with pytest.raises(AttributeError, match="could not be carried"):
        _ = user.secret
    for one in (Person(), SimpleUser("ada"), {"id": 3}, "ada", None):
        local = {**SCOPE, "user": one, "auth": AuthCredentials(["read"])}
        assert authority_of(local, "t") is not None
        assert authority_of(scope_of_bytes(scope_as_bytes(local)), "t") == authority_of(local, "t")
        # And what was handed over once is the same when it is handed over again.
        again = scope_of_bytes(scope_as_bytes(scope_of_bytes(scope_as_bytes(local))))
        assert authority_of(again, "t") == authority_of(local, "t")


def test_what_cannot_be_written_says_so_and_what_is_the_workers_own_is_left_out() -> None:
    endless: list[Any] = []
    endless.append(endless)
    scope = handed(meta=endless, app=object(), state={}, fastapi_inner_astack=object(), router=1)
    assert set(scope) == {*SCOPE, "meta", "extensions"}
    assert isinstance(scope["meta"], NotCarried)
    many = handed(user=[Person() for _ in range(2000)])
    assert isinstance(many["user"], NotCarried)


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        b"\xc1",
        msgspec.msgpack.encode({"type": "http"}),
        msgspec.msgpack.encode({"headers": [1]}),
        msgspec.msgpack.encode({"headers": [], "user": msgspec.msgpack.Ext(1, b"\xc1")}),
        msgspec.msgpack.encode(
            {"headers": [], "user": msgspec.msgpack.Ext(1, msgspec.msgpack.encode(("exec", "1")))}
        ),
    ],
)
def test_other_bytes_are_no_scope(wrong: bytes) -> None:
    with pytest.raises(ProtocolError):
        scope_of_bytes(wrong)
