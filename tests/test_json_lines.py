"""Lines of JSON: whatever is logged or printed becomes one line with all that is known of it."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpkernel.json_lines import JsonFormatter, printed_lines
from mpkernel.logs import get_logger

ANY_TEXT = st.text(st.characters(exclude_categories=()))
RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@pytest.fixture
def written() -> io.StringIO:
    """What a logger named "test" writes, as somebody who embeds mpkernel has set it up."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logging.getLogger("test").handlers = [handler]
    return stream


def line_of(**attributes: Any) -> dict[str, Any]:
    record = logging.LogRecord("test", logging.INFO, __file__, 1, "said", None, None)
    record.__dict__.update(attributes)
    text = JsonFormatter().format(record)
    assert "\n" not in text
    text.encode()
    return dict(json.loads(text))


def test_a_record_says_when_who_and_what(written: io.StringIO) -> None:
    get_logger("test").warning("%s died", "it", app="/a.py", session="s_1", pid=7)
    line = json.loads(written.getvalue())
    assert RFC3339.fullmatch(line.pop("time"))
    assert line == {
        "level": "WARNING",
        "logger": "test",
        "message": "it died",
        "pid": 7,
        "app": "/a.py",
        "session": "s_1",
    }


def test_what_is_not_known_is_left_out_and_the_process_is_the_one_that_logs(
    written: io.StringIO,
) -> None:
    get_logger("test").error("100% sure", app=None)
    line = json.loads(written.getvalue())
    assert line.keys() == {"time", "level", "logger", "message", "pid"}
    assert (line["message"], line["pid"]) == ("100% sure", os.getpid())


def test_an_exception_is_one_field_of_the_line(written: io.StringIO) -> None:
    try:
        raise LookupError("no such\npage")
    except LookupError:
        get_logger("test").exception("lost", pid=7)
    [text] = written.getvalue().splitlines()
    line = json.loads(text)
    assert line["exception"].startswith("Traceback (most recent call last):\n")
    assert line["exception"].endswith("LookupError: no such\npage")


def test_a_stack_is_told_too() -> None:
    assert "Stack (most" in line_of(stack_info="Stack (most recent call last):")["exception"]


@given(ANY_TEXT, ANY_TEXT)
def test_whatever_the_text_it_is_one_line_of_json(text: str, app: str) -> None:
    line = line_of(msg=text, app=app)
    assert line["app"] == app.encode("utf-8", "backslashreplace").decode()


@given(st.lists(ANY_TEXT.filter(lambda text: "\n" not in text)))
def test_whatever_is_printed_each_line_is_one_of_json(texts: list[str]) -> None:
    said = printed_lines("stdout", texts, pid=7, app="/a.py")
    lines = [json.loads(line) for line in said.split("\n")[:-1]]
    wanted = [text.encode("utf-8", "backslashreplace").decode() for text in texts]
    assert [line.pop("text") for line in lines] == wanted
    assert all(RFC3339.fullmatch(line.pop("time")) for line in lines)
    assert all(line == {"stream": "stdout", "pid": 7, "app": "/a.py"} for line in lines)


def test_arguments_that_do_not_fit_cost_no_line() -> None:
    assert "%d ('many',)" in line_of(msg="%d", args=("many",))["message"]


def test_attributes_of_others_that_are_called_the_same_are_left_out() -> None:
    line = line_of(app=object(), session=3, pid="many")
    assert line.keys() == {"time", "level", "logger", "message", "pid"}


def test_the_plain_text_says_what_it_is_about_and_who_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    get_logger("test.plain").warning("%s died", "it", app="/a 100%.py", pid=7)
    [record] = caplog.records
    assert record.getMessage() == "it died app=/a 100%.py pid=7"
    assert record.funcName == sys._getframe().f_code.co_name
    assert (record.app, record.pid) == ("/a 100%.py", 7)  # type: ignore[attr-defined]
    assert not hasattr(record, "session")


def test_what_nobody_wants_to_know_costs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    class Costly:
        def __str__(self) -> str:
            raise AssertionError("this is not logged")

    get_logger("test.quiet").debug(Costly(), app="/a.py")
    assert not caplog.records
