"""How values are shown: the first of their representations that works is used."""

from __future__ import annotations

import base64
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from matplotlib.figure import Figure as Plot

from mpkernel.kernel.messages import Figure, Outputs, decode_message, encode
from mpkernel.kernel.shown.display import figure_of, stacked, text_figure_of

PNG = b"\x89PNG\r\n\x1a\n and so on"
MIB = 1 << 20
METHODS = (
    "_mime_",
    "_repr_html_",
    "_repr_png_",
    "_repr_svg_",
    "_repr_markdown_",
    "_repr_json_",
)


def shown(value: object) -> tuple[str, str]:
    figure = figure_of(value, store=None)
    assert not figure.is_url
    return figure.media_type, figure.data


def having(**methods: Callable[[], object]) -> Any:
    """An object with these methods."""
    return type("Value", (), {name: staticmethod(method) for name, method in methods.items()})()


def returning(answer: object) -> Callable[[], object]:
    return lambda: answer


def raising(error: BaseException) -> Callable[[], object]:
    def method() -> object:
        raise error

    return method


class Store:
    """Keeps the data that it is given."""

    def __init__(self) -> None:
        self.stored: list[tuple[bytes, str]] = []

    def __call__(self, data: bytes, media_type: str) -> str:
        self.stored.append((data, media_type))
        return f"@file/{len(self.stored)}"


@pytest.mark.parametrize(
    ("method", "answer", "figure"),
    [
        ("_mime_", ("text/html; charset=utf-8", "<b>"), ("text/html; charset=utf-8", "<b>")),
        ("_mime_", ("text/csv", b"a,b"), ("text/csv", "a,b")),
        ("_mime_", ("application/vnd.chart+json", "{}"), ("application/vnd.chart+json", "{}")),
        ("_mime_", ("image/jpeg", b"\xff\xd8"), ("image/jpeg", "/9g=")),
        ("_mime_", ("image/jpeg", "/9g="), ("image/jpeg", "/9g=")),
        ("_repr_html_", "<b>", ("text/html", "<b>")),
        ("_repr_html_", ("<b>", {"isolated": True}), ("text/html", "<b>")),
        ("_repr_png_", PNG, ("image/png", base64.b64encode(PNG).decode())),
        (
            "_repr_png_",
            base64.encodebytes(PNG).decode(),
            ("image/png", base64.b64encode(PNG).decode()),
        ),
        ("_repr_svg_", "<svg/>", ("image/svg+xml", "<svg/>")),
        ("_repr_markdown_", "# é", ("text/markdown", "# é")),
        ("_repr_json_", {"a": [1, None]}, ("application/json", '{"a":[1,null]}')),
        ("_repr_json_", '{"a": 1}', ("application/json", '{"a": 1}')),
    ],
)
def test_a_value_is_shown_as_its_method_says(
    method: str, answer: object, figure: tuple[str, str]
) -> None:
    assert shown(having(**{method: returning(answer)})) == figure


def test_the_first_method_that_a_value_has_counts() -> None:
    answers = {
        "_mime_": ("text/x-first", "mime"),
        "_repr_html_": "html",
        "_repr_png_": PNG,
        "_repr_svg_": "svg",
        "_repr_markdown_": "markdown",
        "_repr_json_": {},
    }
    media_types = []
    for first in range(len(METHODS)):
        left = {name: returning(answers[name]) for name in METHODS[first:]}
        media_types.append(shown(having(**left))[0])
    assert media_types == [
        "text/x-first",
        "text/html",
        "image/png",
        "image/svg+xml",
        "text/markdown",
        "application/json",
    ]


@pytest.mark.parametrize(
    ("method", "broken"),
    [
        *[(method, raising(ValueError("broken"))) for method in METHODS],
        *[(method, returning(None)) for method in METHODS],
        *[(method, returning(object())) for method in METHODS],
        ("_mime_", returning("text/html")),
        ("_mime_", returning(("text/html", 1))),
        ("_mime_", returning((b"text/html", "<b>"))),
        ("_mime_", returning(("html", "<b>"))),
        ("_mime_", returning(("text/html", b"\xff"))),
        ("_mime_", returning(("image/png", "no base64!"))),
        ("_repr_png_", returning("no base64!")),
        ("_repr_json_", returning("{no json")),
        ("_repr_json_", returning({"a": object()})),
        ("_repr_html_", lambda missing: missing),
    ],
)
def test_a_broken_method_leaves_it_to_the_next(method: str, broken: Any) -> None:
    after = METHODS[METHODS.index(method) + 1 :][:1]
    working: dict[str, Any] = {
        "_repr_html_": returning("next"),
        "_repr_png_": returning(PNG),
        "_repr_svg_": returning("next"),
        "_repr_markdown_": returning("next"),
        "_repr_json_": returning(["next"]),
    }
    value = having(**{method: broken}, **{name: working[name] for name in after})
    expected = base64.b64encode(PNG).decode() if after == ("_repr_png_",) else "next"
    media_type, data = shown(value)
    if after:
        assert data.strip('["]') == expected
        assert media_type != "text/plain"
    else:
        assert (media_type, data) == ("text/plain", repr(value))


def test_a_value_of_no_methods_is_shown_as_its_repr() -> None:
    assert shown([1, "é"]) == ("text/plain", "[1, 'é']")


def test_a_value_that_has_every_attribute_is_shown_as_its_repr() -> None:
    class Anything:
        def __getattr__(self, name: str) -> Any:
            return lambda: self

        def __repr__(self) -> str:
            return "anything"

    assert shown(Anything()) == ("text/plain", "anything")


def test_a_class_is_shown_as_itself_and_not_as_its_objects() -> None:
    class Table:
        @classmethod
        def _repr_html_(cls) -> str:
            return "<table>"

    assert shown(Table) == ("text/plain", repr(Table))
    assert shown(Table()) == ("text/html", "<table>")


def test_a_broken_repr_is_named_with_its_class_and_its_error() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise ValueError("not today")

    media_type, text = shown(Broken())
    assert media_type == "text/plain"
    assert "Broken" in text
    assert "ValueError: not today" in text


def test_an_error_that_cannot_be_printed_is_named() -> None:
    class Unprintable(Exception):
        def __str__(self) -> str:
            raise self

    class Broken:
        def __repr__(self) -> str:
            raise Unprintable

        @property
        def _repr_html_(self) -> Any:
            raise Unprintable

    assert "Unprintable" in shown(Broken())[1]


def test_a_value_without_end_is_named_with_its_error() -> None:
    class Endless:
        def __repr__(self) -> str:
            return repr(self)

    assert "RecursionError" in shown(Endless())[1]


@pytest.mark.parametrize("method", [*METHODS, "__repr__"])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)])
def test_an_interrupt_in_a_method_goes_up(method: str, error: BaseException) -> None:
    def strike(_: object) -> Any:
        raise error

    value = type("Value", (), {method: strike})()
    with pytest.raises(type(error)):
        figure_of(value, store=None)


def test_a_long_repr_is_cut_and_says_by_how_much() -> None:
    class Long:
        def __init__(self, length: int) -> None:
            self.length = length

        def __repr__(self) -> str:
            return "x" * self.length

    assert shown(Long(20_000))[1] == "x" * 20_000
    text, _, note = shown(Long(1_254_321))[1].partition("\n")
    assert text == "x" * 20_000
    assert "1,234,321" in note


def test_text_that_no_message_can_carry_is_escaped() -> None:
    figures = [
        figure_of(having(_repr_html_=returning("<b>\udcff")), store=None),
        figure_of(type("Name", (), {"__repr__": lambda _: "\ud800"})(), store=None),
    ]
    assert [figure.data for figure in figures] == ["<b>\\udcff", "\\ud800"]
    outputs = Outputs("cell", figures)
    assert decode_message(encode(outputs)) == outputs


def test_a_figure_is_shown_as_it_is() -> None:
    figure = Figure("image/png", "@file/1", is_url=True)
    assert figure_of(figure, store=None) is figure


def test_a_figure_that_no_message_can_carry_is_escaped() -> None:
    figure = figure_of(Figure("text/plain", "a\ud800"), store=None)
    assert figure == Figure("text/plain", "a\\ud800")
    assert decode_message(encode(Outputs("cell", [figure]))) == Outputs("cell", [figure])


@pytest.mark.parametrize(
    "given",
    [(5, "data"), ("text/plain", b"data"), ("text/plain", None), ("text/plain", "data", "yes")],
)
def test_a_figure_of_wrong_types_is_refused(given: tuple[Any, ...]) -> None:
    with pytest.raises(TypeError, match=r"Figure\.\w+ must be"):
        figure_of(Figure(*given), store=None)


class _Nameless(type):
    @property
    def __name__(cls) -> str:
        raise RuntimeError("this class tells nobody its name")


def test_a_class_that_does_not_tell_its_name_is_named() -> None:
    class Value(metaclass=_Nameless):
        def _repr_html_(self) -> str:
            raise ValueError("no HTML")

        def __repr__(self) -> str:
            raise ValueError("no repr")

    figure = figure_of(Value(), store=None)
    assert figure.data == "<Value object whose repr failed with ValueError: no repr>"


def test_a_proxy_of_nothing_is_shown_as_its_repr_where_there_is_only_text() -> None:
    class Proxy:
        @property
        def __class__(self) -> type:
            raise RuntimeError("there is nothing behind this proxy")

        def __repr__(self) -> str:
            return "<unbound proxy>"

    assert text_figure_of(Proxy()).data == "<unbound proxy>"
    assert figure_of(Proxy(), store=None).data == "<unbound proxy>"


@pytest.mark.parametrize("size", [MIB, MIB + 1])
@pytest.mark.parametrize(
    ("method", "media_type", "byte"),
    [("_repr_png_", "image/png", b"\xff"), ("_repr_html_", "text/html", b"x")],
)
def test_data_over_a_mebibyte_is_stored(
    size: int, method: str, media_type: str, byte: bytes
) -> None:
    data = byte * size
    answer = data if media_type == "image/png" else data.decode()
    store = Store()
    figure = figure_of(having(**{method: returning(answer)}), store=store)
    if size > MIB:
        assert figure == Figure(media_type, "@file/1", is_url=True)
        assert store.stored == [(data, media_type)]
    else:
        assert not figure.is_url
        assert store.stored == []


def test_what_is_stored_of_text_and_of_base64_are_its_bytes() -> None:
    store = Store()
    figure_of(having(_repr_html_=returning("é" * MIB)), store=store)
    figure_of(having(_repr_png_=returning(base64.b64encode(PNG * MIB).decode())), store=store)
    assert store.stored == [(("é" * MIB).encode(), "text/html"), (PNG * MIB, "image/png")]


def test_without_a_store_all_data_is_in_the_figure() -> None:
    assert shown(having(_repr_html_=returning("x" * 3 * MIB))) == ("text/html", "x" * 3 * MIB)


def test_a_store_that_fails_is_no_broken_value() -> None:
    def full(data: bytes, media_type: str) -> str:
        raise MemoryError("full")

    with pytest.raises(MemoryError):
        figure_of(having(_repr_html_=returning("x" * 3 * MIB)), store=full)


def test_a_matplotlib_figure_and_its_axes_are_pictures() -> None:
    figure = Plot()
    axes = figure.subfigures().subplots()
    for value in (figure, axes):
        media_type, data = shown(value)
        assert media_type == "image/png"
        assert base64.b64decode(data).startswith(PNG[:8])


def test_a_matplotlib_figure_that_cannot_be_drawn_is_shown_as_its_repr() -> None:
    figure = Plot()
    figure.suptitle("$\\nonsense{$")
    assert shown(figure) == ("text/plain", repr(figure))


def test_showing_a_value_imports_neither_matplotlib_nor_a_loop() -> None:
    code = (
        "import sys; from mpkernel.kernel import outputs, progress, threads;"
        " from mpkernel.kernel.shown import display;"
        " display.figure_of(object(), store=None);"
        " print({'asyncio', 'psutil', 'uvloop', 'matplotlib'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "set()\n"


def test_nothing_is_stacked_to_nothing_and_one_to_itself() -> None:
    one = Figure("text/plain", "1")
    assert stacked([]) is None
    assert stacked([one]) is one


def test_many_are_stacked_in_order_as_html() -> None:
    stack = stacked(
        [
            Figure("text/plain", "1 < 2"),
            Figure("text/html", "<b>bold</b>"),
            Figure("image/png", "AAAA"),
            Figure("image/png", "@file/1?a&b", is_url=True),
            Figure("image/svg+xml", "<svg/>"),
            Figure("text/html", "@file/2", is_url=True),
            Figure("text/csv", "@file/3", is_url=True),
        ]
    )
    assert stack is not None
    assert stack.media_type == "text/html"
    assert stack.data == "".join(
        f"<div>{part}</div>"
        for part in (
            "<pre>1 &lt; 2</pre>",
            "<b>bold</b>",
            '<img src="data:image/png;base64,AAAA">',
            '<img src="@file/1?a&amp;b">',
            "<svg/>",
            '<iframe src="@file/2"></iframe>',
            '<a href="@file/3">text/csv</a>',
        )
    )


def test_json_of_a_value_can_be_read_again() -> None:
    value = {"text": "é", "numbers": [1, 2.5, float("nan")], "none": None}
    _, data = shown(having(_repr_json_=returning(value)))
    assert msgspec.json.decode(data) == {"text": "é", "numbers": [1, 2.5, None], "none": None}
