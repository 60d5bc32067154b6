"""Work that marimo repeats is done once: to prepare the decoder of kernels' messages, and to parse
a notebook whose kernels start together."""

from __future__ import annotations

import importlib
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mpkernel.marimo_backend import seam

NOTEBOOK = """import marimo

app = marimo.App()


@app.cell
def _():
    first = 1
    return (first,)


@app.cell
def _(first):
    first + 1
    return
"""
MESSAGES = (
    b'{"op":"completed-run"}',
    b'{"op":"remove-ui-elements","cell_id":"Hbol"}',
    b'{"op":"cell-op","cell_id":"Hbol","status":"queued","timestamp":1.5}',
    b'{"op":"cell-op","cell_id":"Hbol","timestamp":2.0,"output":{"channel":"output",'
    b'"mimetype":"text/html","data":"<b>1</b>","timestamp":2.0},"console":[]}',
    b'{"op":"variables","variables":[{"name":"a","declared_by":["Hbol"],"used_by":[]}]}',
)
NO_MESSAGES = (b"", b"{", b'{"op":"nothing"}', b'{"op":"cell-op"}', b'{"op":"cell-op","cell_id":1}')


@pytest.fixture
def decode() -> Callable[[bytes], Any]:
    """What marimo's view of a session decodes messages with in our servers."""
    view = importlib.import_module("marimo._session.state.session_view")
    seam.keep_message_decoder()
    seam.keep_message_decoder()
    decode: Callable[[bytes], Any] = vars(view)["deserialize_kernel_message"]
    return decode


@pytest.fixture
def marimos() -> Callable[[bytes], Any]:
    """marimo's own function."""
    serde = importlib.import_module("marimo._messaging.serde")
    marimos: Callable[[bytes], Any] = serde.deserialize_kernel_message
    return marimos


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_is_decoded_to_what_marimo_makes_of_it(
    decode: Callable[[bytes], Any], marimos: Callable[[bytes], Any], message: bytes
) -> None:
    assert decode is not marimos
    assert decode(message) == marimos(message)


@pytest.mark.parametrize("message", NO_MESSAGES)
def test_what_is_no_message_is_refused_with_the_same_words(
    decode: Callable[[bytes], Any], marimos: Callable[[bytes], Any], message: bytes
) -> None:
    with pytest.raises(msgspec.DecodeError) as refused:
        decode(message)
    with pytest.raises(msgspec.DecodeError) as refused_by_marimo:
        marimos(message)
    assert str(refused.value) == str(refused_by_marimo.value)


def test_the_decoder_is_not_prepared_for_each_message(
    decode: Callable[[bytes], Any], marimos: Callable[[bytes], Any]
) -> None:
    def cpu_s(function: Callable[[bytes], Any]) -> float:
        began_s = time.thread_time()
        for _ in range(500):
            function(MESSAGES[0])
        return time.thread_time() - began_s

    assert cpu_s(decode) < cpu_s(marimos) / 4


def test_a_session_shows_what_was_decoded(decode: Callable[[bytes], Any]) -> None:
    view = importlib.import_module("marimo._session.state.session_view").SessionView()
    for message in MESSAGES:
        view.add_raw_notification(message)
    assert view.cell_notifications["Hbol"].output.data == "<b>1</b>"
    assert view.cell_notifications["Hbol"].status == "queued"


def test_kernels_that_start_together_parse_their_notebook_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    compiler: Any = importlib.import_module("marimo._ast.compiler")
    parse: Any = importlib.import_module("marimo._ast.parse")
    name, count = "_build_source_position_map", 8
    monkeypatch.setattr(compiler, name, getattr(compiler, name))  # taken back after the test
    parsed: list[str] = []
    original = parse.parse_notebook

    def counted(contents: str, *args: Any, **options: Any) -> Any:
        parsed.append(contents)
        everybody_looks.wait(0.2)  # as long as a large notebook takes
        return original(contents, *args, **options)

    monkeypatch.setattr(parse, "parse_notebook", counted)
    notebook = tmp_path / "notebook.py"
    notebook.write_text(NOTEBOOK)
    seam.parse_notebooks_once()
    everybody_looks = threading.Event()
    together = threading.Barrier(count)
    found: list[Any] = []

    def look() -> None:
        together.wait()
        for code in ("first = 1", "first + 1"):
            found.append(compiler.solve_source_position(code, str(notebook)))

    threads = [threading.Thread(target=look) for _ in range(count)]
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval_s)
    assert len(parsed) == 1
    lines = sorted(position.lineno for position in found)
    assert lines == count * [lines[0]] + count * [lines[-1]]
    assert lines[0] < lines[-1]
