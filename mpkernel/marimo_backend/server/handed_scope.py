"""A request's scope as bytes, for another worker of the same server, which runs the same program.

What middleware has put into it (`user`, `meta`, …) arrives there as it would in an app's process:
see `carrying`. No code is read from these bytes: they are msgpack, and become plain values, a few
types of the standard library, `Carried` and `NotCarried`. What only this worker's own objects can
do (the application, the router, the state of the lifespan) is not sent; the other worker has its
own.
"""

from __future__ import annotations

import datetime
import decimal
import types
import uuid
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import msgspec

from mpkernel.errors import ProtocolError
from mpkernel.marimo_backend.carried import Carried, NotCarried
from mpkernel.marimo_backend.server.carrying import data_of
from mpkernel.wire.messages import UNDECODABLE

__all__ = ["scope_as_bytes", "scope_of_bytes"]

_EXTENSIONS = frozenset({"websocket.http.response"})
_OF_ASGI = frozenset(
    {"asgi", "client", "headers", "http_version", "method", "path", "query_string", "raw_path"}
    | {"root_path", "scheme", "server", "subprotocols", "type"}
)
_NOT_SENT = frozenset({"app", "endpoint", "extensions", "route", "router", "state"})
_OF_FRAMEWORKS = ("fastapi", "starlette", "mpkernel")
_MOST_OBJECTS = 1000

_Written: TypeAlias = object
"""What msgpack can write."""
_CODE = (type, types.FunctionType, types.BuiltinFunctionType, types.MethodType)

_TEXTS: dict[type, Callable[[str], object]] = {
    uuid.UUID: uuid.UUID,
    decimal.Decimal: decimal.Decimal,
    datetime.datetime: datetime.datetime.fromisoformat,
    datetime.date: datetime.date.fromisoformat,
    datetime.time: datetime.time.fromisoformat,
}
_SEQUENCES: dict[type, Callable[[list[object]], object]] = {
    tuple: tuple,
    set: set,
    frozenset: frozenset,
}
_BY_NAME: dict[str, Callable[[Any], object]] = {
    **{kind.__name__: read for kind, read in _TEXTS.items()},
    **{kind.__name__: read for kind, read in _SEQUENCES.items()},
    "int": int,
    "surrogates": lambda content: content.decode(errors="surrogatepass"),
    "carried": lambda content: _as_carried(*content),
    "not carried": lambda content: NotCarried(*map(str, content)),
}


def scope_as_bytes(scope: Mapping[str, Any]) -> bytes:
    """The scope of a request."""
    sent = {name: one for name, one in scope.items() if name in _OF_ASGI}
    for name, one in scope.items():
        if not (name in _OF_ASGI or name in _NOT_SENT or name.startswith(_OF_FRAMEWORKS)):
            sent[name] = _Writer().value(one)
    sent["extensions"] = {name: {} for name in _EXTENSIONS & set(scope.get("extensions") or ())}
    return msgspec.msgpack.encode(sent)


def scope_of_bytes(encoded: bytes) -> dict[str, Any]:
    """The reverse of `scope_as_bytes`.

    Raises:
        ProtocolError: the bytes are not a scope.
    """
    try:
        scope = msgspec.msgpack.decode(encoded, type=dict[str, Any], ext_hook=_read)
        scope["headers"] = [(name, value) for name, value in scope["headers"]]
    except (*UNDECODABLE, KeyError, TypeError, ValueError) as error:
        raise ProtocolError(f"a worker sent no scope of a request: {error}") from error
    for name in ("client", "server"):
        if scope.get(name) is not None:
            scope[name] = tuple(scope[name])
    return scope


class _Writer:
    """Writes one value of a scope."""

    def __init__(self) -> None:
        self._left = _MOST_OBJECTS

    def value(self, value: Any) -> _Written:
        try:
            return self._plain(value)
        except RecursionError:
            return _not_carried(value, "it is nested too deeply")
        except ValueError as error:
            return _not_carried(value, str(error))

    def _plain(self, value: Any) -> _Written:
        kind = type(value)
        if value is None or kind in (bool, float, bytes):
            return value
        if kind is str:
            return value if value.isascii() or _is_utf8(value) else _surrogates(value)
        if kind is int:
            # msgpack's integers have 64 bits.
            return value if -(2**63) <= value < 2**64 else _ext("int", str(value))
        if kind is list:
            return [self._plain(one) for one in value]
        if kind is dict and all(type(key) in (str, int) for key in value):
            return {key: self._plain(one) for key, one in value.items()}
        if kind in _TEXTS:
            is_time = isinstance(value, datetime.date | datetime.time)
            return _ext(kind.__name__, value.isoformat() if is_time else str(value))
        if kind in _SEQUENCES:
            return _ext(kind.__name__, [self._plain(one) for one in value])
        return self._object(value)

    def _object(self, value: Any) -> _Written:
        self._left -= 1
        if self._left < 0:
            raise ValueError(f"it contains more than {_MOST_OBJECTS} objects")
        base = _base_of(value)
        if base is not None:
            return self._plain(base)
        if isinstance(value, _CODE):
            return _not_carried(value, "it is code of the server's program")
        if isinstance(value, NotCarried):
            return _ext("not carried", [value._of, value._reason])
        of, attributes, missing = data_of(value)
        carried = {name: self._plain(one) for name, one in attributes.items()}
        return _ext("carried", [of, list(missing), carried])


def _base_of(value: object) -> object:
    """The built-in value to write for an object whose class derives from it; None for any other."""
    match value:
        case str():
            return str.__str__(value)
        case int():
            return int.__int__(value)
        case float():
            return float.__float__(value)
        case bytes() | bytearray():
            return bytes(memoryview(value))
        case tuple() | list() | set() | frozenset():
            kinds = (tuple, list, set, frozenset)
            return next(kind(value) for kind in kinds if isinstance(value, kind))
        case dict() if type(value) is not dict:
            return dict(dict.items(value))
    return None


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _surrogates(text: str) -> msgspec.msgpack.Ext:
    """A text that was made of bytes that are no UTF-8."""
    return _ext("surrogates", text.encode(errors="surrogatepass"))


def _not_carried(value: object, reason: str) -> msgspec.msgpack.Ext:
    return _ext("not carried", [f"{type(value).__module__}.{type(value).__qualname__}", reason])


def _ext(name: str, content: _Written) -> msgspec.msgpack.Ext:
    return msgspec.msgpack.Ext(1, msgspec.msgpack.encode((name, content)))


def _read(code: int, data: memoryview) -> object:
    name, content = msgspec.msgpack.decode(data, type=tuple[str, Any], ext_hook=_read)
    read = _BY_NAME.get(name)
    if code != 1 or read is None:
        raise ValueError(f"a value of the unknown kind {name!r}")
    return read(content)


def _as_carried(of: str, missing: list[str], attributes: dict[str, object]) -> Carried:
    made = Carried(of, missing)
    made.__setstate__(attributes)
    return made
