"""`Conditions`: which part of a file a request wants, and under which conditions (RFC 9110).

    If-Match fails ──▶ 412        the client goes on with a file that is not this one
    If-None-Match ───▶ 304        the client has this file
    Range, If-Range ─▶ one part of it, or all

A `Range` is an offer of the client's that a server may pass over. It counts if it names one range
of bytes, which is all that browsers ask for. With another unit, several ranges, or nonsense, the
client gets the whole file.
"""

from __future__ import annotations

import re
from typing import Any

__all__ = ["Conditions"]

_TAG = re.compile(rb'(W/)?("[^"]*")|(\*)')
_RANGE = re.compile(rb"bytes=([0-9]{1,18}-[0-9]{0,18}|-[0-9]{1,18})", re.IGNORECASE)


class Conditions:
    """The conditions of one request.

    Args:
        scope: the request's.
        tag: the entity tag of the file. It is a strong one: the same tag means the same bytes.
    """

    def __init__(self, scope: Any, tag: bytes) -> None:
        self._headers: list[tuple[bytes, bytes]] = scope["headers"]
        self._tag = tag

    @property
    def is_other_file(self) -> bool:
        """Whether the client wants only files that are not this one."""
        given = self._all(b"if-match")
        return bool(given) and not self._is_among(given)

    @property
    def is_known(self) -> bool:
        """Whether the client has the file already."""
        return self._is_among(self._all(b"if-none-match"), weakly=True)

    def without_idle_range(self, scope: Any) -> Any:
        """The request, without its range if that does not count."""
        ranges = self._all(b"range")
        if not ranges:
            return scope
        condition = self._all(b"if-range")
        is_meant = len(ranges) == 1 and _RANGE.fullmatch(ranges[0]) is not None
        if is_meant and (not condition or self._is_among(condition)):
            return scope
        headers = [(name, value) for name, value in self._headers if name != b"range"]
        return {**scope, "headers": headers}

    def _all(self, name: bytes) -> list[bytes]:
        return [value.strip() for header, value in self._headers if header == name]

    def _is_among(self, lists: list[bytes], *, weakly: bool = False) -> bool:
        """Whether the tag, or a star, is among lists of tags.

        Args:
            lists: the values of the header's lines.
            weakly: whether a weak tag counts: one of a file with the same meaning, whose bytes may
                be others (a proxy has compressed it, for example).
        """
        return any(
            found[3] is not None or (found[2] == self._tag and (weakly or not found[1]))
            for given in lists
            for found in _TAG.finditer(given)
        )
