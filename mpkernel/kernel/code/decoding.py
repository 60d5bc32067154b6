"""`decoded`: the text of an app's file, as Python decodes source code."""

from __future__ import annotations

__all__ = ["decoded"]


def decoded(source: bytes, filename: str) -> str:
    """Source code as Python decodes it: by its encoding line, with all line ends as `\\n`.

    Args:
        source: the bytes of the file.
        filename: the file that errors name.

    Raises:
        SyntaxError: the bytes are not text in the encoding that the file names, or in UTF-8.
    """
    from importlib.util import decode_source  # imported here: not every session reads a file

    try:
        return decode_source(source)
    except (SyntaxError, UnicodeDecodeError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        raise SyntaxError(
            f"{filename} cannot be decoded: {reason} (save it as UTF-8, or name its encoding in the"
            " first line: # -*- coding: latin-1 -*-)"
        ) from None
