"""`ForPeople`: messages whose texts are for people.

Such a text may name a path or quote an error. Python gives each byte of a path that is no UTF-8 as
a lone surrogate, which neither msgpack nor JSON can carry.
"""

from __future__ import annotations

import msgspec

from mpkernel.plain_text import encodable

__all__ = ["ForPeople"]


class ForPeople(msgspec.Struct, frozen=True):
    """A message that can always be encoded, whatever its texts were made of: lone surrogates in
    them are written as escapes. No field may hold a text that must stay what it was, such as a path
    to be opened."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            text = getattr(self, name)
            if type(text) is str and not text.isascii():
                msgspec.structs.force_setattr(self, name, encodable(text))
