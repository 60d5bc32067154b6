"""Turning a value into a `Figure`: the first of its representations that works is used.

They are tried in this order: `_mime_`, `_repr_html_`, `_repr_png_`, `_repr_svg_`,
`_repr_markdown_`, `_repr_json_`, matplotlib, `repr`. They are user code: when one fails, the next
is tried.
"""

from __future__ import annotations

import base64
import html
import io
import re
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, TypeAlias, cast

import msgspec

from mpkernel.argument_checks import check_argument
from mpkernel.error_texts import class_of
from mpkernel.kernel.messages import Figure
from mpkernel.late_logger import late_logger
from mpkernel.plain_text import encodable

__all__ = ["Store", "figure_of", "shortened", "stacked", "text_figure_of"]

logger = late_logger(__name__)

Store: TypeAlias = Callable[[bytes, str], str]

_MAX_INLINE_BYTES = 1 << 20
_MAX_TEXT_CHARACTERS = 20_000
_MEDIA_TYPE = re.compile(r"[!-~]+/[ -~]+")
_TEXT_MEDIA = re.compile(r"text/|[^;]*[/+](json|xml|javascript)\s*(;|$)")


def figure_of(value: object, *, store: Store | None) -> Figure:
    """How to show a value. A `Figure` is shown as it is, with lone surrogates as escapes.

    Args:
        value: any object. An `Exception` that one of its representations raises is logged, and the
            next one is tried. What is not an `Exception`, such as `KeyboardInterrupt`, is raised.
        store: called with data over 1 MiB and its media type; returns a URL for it. With None, all
            data is in the figure itself.

    Raises:
        TypeError: an attribute of a `Figure` has a wrong type.
        What `store` raises.
    """
    if type(value) is Figure:
        return _checked(value)
    shape = _shape_of(value)
    if store is not None and len(shape.data) > _MAX_INLINE_BYTES:
        return Figure(shape.media_type, store(shape.data, shape.media_type), is_url=True)
    if _is_text(shape.media_type):
        return Figure(shape.media_type, shape.data.decode())
    return Figure(shape.media_type, base64.b64encode(shape.data).decode())


def text_figure_of(value: object) -> Figure:
    """How to show a value where there is only text: a string as it is, else its `repr`."""
    is_text = issubclass(type(value), str)  # no property `__class__` of the user's is asked
    shape = _text_shape(str.__str__(cast(str, value)) if is_text else _safe_repr(value))
    return Figure(shape.media_type, shape.data.decode())


def stacked(figures: Sequence[Figure]) -> Figure | None:
    """Several figures as one HTML figure, each below the one before. A single figure stays as it
    is; without any there is None."""
    if len(figures) < 2:
        return figures[0] if figures else None
    return Figure("text/html", "".join(f"<div>{_html_of(figure)}</div>" for figure in figures))


def shortened(text: str, most_bytes: int) -> str:
    """The text as `encodable` gives it, without its middle if it has more bytes than that."""
    if len(text) <= most_bytes:
        whole = encodable(text)
        if len(whole.encode()) <= most_bytes:
            return whole
    half = most_bytes // 2
    beginning = encodable(text[:half]).encode()[:half].decode(errors="ignore")
    end = encodable(text[-half:]).encode()[-half:].decode(errors="ignore")
    cut = len(text) - len(beginning) - len(end)
    return f"{beginning}\n… {cut:,} characters were cut here …\n{end}"


def _checked(figure: Figure) -> Figure:
    """A figure that code of the app has made, as every client can read it."""
    check_argument("Figure.media_type", figure.media_type, str, 'a str, as in "text/plain"')
    check_argument("Figure.data", figure.data, str, "a str; base64 of it for bytes")
    check_argument("Figure.is_url", figure.is_url, bool, "a bool")
    if figure.media_type.isascii() and figure.data.isascii():
        return figure
    return Figure(encodable(figure.media_type), encodable(figure.data), figure.is_url)


class _Shape(NamedTuple):
    """What a representation returned; text is encoded as UTF-8."""

    media_type: str
    data: bytes


class _Unusable(Exception):
    """A representation returned something that cannot be shown."""


def _shape_of(value: object) -> _Shape:
    for name, read in _REPRESENTATIONS.items():
        try:
            if (shape := read(value)) is not None:
                return shape
        except Exception as error:  # noqa: BLE001 (user code; the next representation may work)
            logger.debug("%s of a %s cannot be used: %s", name, class_of(value), _words(error))
    return _text_shape(_safe_repr(value))


def _safe_repr(value: object) -> str:
    try:
        return repr(value)
    except Exception as error:  # noqa: BLE001 (user code; its error is what is shown)
        return f"<{class_of(value)} object whose repr failed with {_words(error)}>"


def _words(error: Exception) -> str:
    name = class_of(error)
    try:
        return f"{name}: {error}"
    except Exception as second:  # noqa: BLE001 (user code; only its class can be named)
        return f"{name}, which cannot be printed ({class_of(second)})"


def _text_shape(text: str) -> _Shape:
    cut = len(text) - _MAX_TEXT_CHARACTERS
    if cut > 0:
        text = f"{text[:_MAX_TEXT_CHARACTERS]}\n… {cut:,} more characters were cut"
    return _Shape("text/plain", encodable(text).encode())


def _asked(value: object, method: str) -> object:
    """What the value's method returns; None where it has no such method. A class is not asked: its
    methods describe its objects."""
    if issubclass(type(value), type):
        return None
    found = getattr(value, method, None)
    return None if found is None else found()


def _from_mime(value: object) -> _Shape | None:
    answer = _asked(value, "_mime_")
    if answer is None:
        return None
    if not isinstance(answer, tuple) or len(answer) != 2:
        raise _Unusable(f"it returned a {class_of(answer)} instead of (media type, data)")
    media_type, data = answer
    if not isinstance(media_type, str) or not _MEDIA_TYPE.fullmatch(media_type):
        raise _Unusable(f"{media_type!r} is not a media type")
    return _Shape(str(media_type), _bytes_of(media_type, data))


def _from_method(method: str, media_type: str) -> Callable[[object], _Shape | None]:
    def read(value: object) -> _Shape | None:
        data = _without_metadata(_asked(value, method))
        return None if data is None else _Shape(media_type, _bytes_of(media_type, data))

    return read


def _from_json(value: object) -> _Shape | None:
    data = _without_metadata(_asked(value, "_repr_json_"))
    if data is None:
        return None
    if not isinstance(data, str):
        return _Shape("application/json", msgspec.json.encode(data))
    text = encodable(data).encode()
    msgspec.json.decode(text)  # raises if it is not JSON: then the next representation is tried
    return _Shape("application/json", text)


def _without_metadata(answer: object) -> object:
    """The data alone: as in IPython, a method may return (data, metadata)."""
    if isinstance(answer, tuple) and len(answer) == 2 and isinstance(answer[1], dict):
        return answer[0]
    return answer


def _bytes_of(media_type: str, data: object) -> bytes:
    if isinstance(data, str):
        if _is_text(media_type):
            return encodable(data).encode()
        return base64.b64decode("".join(data.split()), validate=True)
    if not isinstance(data, bytes | bytearray | memoryview):
        raise _Unusable(f"its data is a {class_of(data)}, and neither str nor bytes")
    content = bytes(data)
    if _is_text(media_type):
        content.decode()  # raises if it is not UTF-8: then the next representation is tried
    return content


class _Canvas(Protocol):
    """A matplotlib figure, or a subfigure or axes, whose `figure` leads to the figure."""

    @property
    def figure(self) -> _Canvas: ...

    @property
    def savefig(self) -> Callable[..., None]: ...


def _from_matplotlib(value: object) -> _Shape | None:
    if _is_of(value, "matplotlib.figure", "Figure"):
        figure = cast(_Canvas, value)
    elif _is_of(value, "matplotlib.axes", "Axes"):
        figure = cast(_Canvas, value).figure.figure
    else:
        return None
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return _Shape("image/png", file.getvalue())


def _is_of(value: object, module: str, name: str) -> bool:
    """Whether the value is of this class, in a module that user code has imported already."""
    of = getattr(sys.modules.get(module), name, None)
    return isinstance(of, type) and isinstance(value, of)


_REPRESENTATIONS: dict[str, Callable[[object], _Shape | None]] = {
    "_mime_": _from_mime,
    "_repr_html_": _from_method("_repr_html_", "text/html"),
    "_repr_png_": _from_method("_repr_png_", "image/png"),
    "_repr_svg_": _from_method("_repr_svg_", "image/svg+xml"),
    "_repr_markdown_": _from_method("_repr_markdown_", "text/markdown"),
    "_repr_json_": _from_json,
    "the matplotlib picture": _from_matplotlib,
}


def _is_text(media_type: str) -> bool:
    return _TEXT_MEDIA.match(media_type) is not None


def _html_of(figure: Figure) -> str:
    media_type, data = figure.media_type, figure.data
    is_text = _is_text(media_type)
    if is_text and not figure.is_url:
        shown_as_it_is = media_type.startswith(("text/html", "image/svg+xml"))
        return data if shown_as_it_is else f"<pre>{html.escape(data)}</pre>"
    url = html.escape(data if figure.is_url else f"data:{media_type};base64,{data}")
    if media_type.startswith("image/"):
        return f'<img src="{url}">'
    if media_type.startswith("text/html"):
        return f'<iframe src="{url}"></iframe>'
    return f'<a href="{url}">{html.escape(media_type)}</a>'
