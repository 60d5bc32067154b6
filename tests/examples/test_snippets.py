"""The example of a service: what its visitors' snippets do wrong ends with them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from mpkernel.examples.service import snippets


@pytest.fixture
def visitor() -> Iterator[TestClient]:
    with TestClient(snippets.service) as client:
        yield client


def run(visitor: TestClient, code: str) -> dict[str, str]:
    answer = visitor.post("/run", json={"code": code})
    assert answer.status_code == 200, answer.text
    shown: dict[str, str] = answer.json()
    return shown


def test_a_snippet_is_run_and_what_it_shows_is_returned(visitor: TestClient) -> None:
    shown = run(visitor, "print('six'); n = 6\nn * 7")
    assert (sorted(shown["output"].split()), shown["error"]) == (["42", "six"], "")


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("1 / 0", "ZeroDivisionError"),
        ("input()", "EOFError"),
        ("import ctypes; ctypes.string_at(0)", "SIGSEGV"),
        ("import time; keep = b'x' * 600 * 2**20; time.sleep(60)", "memory"),
        ("print('x' * 100_000)", "it wrote more than 65536 characters"),
        ("import os; print(os.environ['SECRET'])", "KeyError"),
    ],
    ids=["exception", "input", "crash", "memory", "output", "environment"],
)
def test_a_snippet_that_does_wrong_gets_an_error(
    visitor: TestClient, monkeypatch: pytest.MonkeyPatch, code: str, error: str
) -> None:
    monkeypatch.setattr(snippets, "SECONDS", 30.0)
    monkeypatch.setenv("SECRET", "of the server")
    assert error in run(visitor, code)["error"]


def test_a_snippet_that_goes_on_is_stopped_and_leaves_nothing_for_the_next(
    visitor: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snippets, "SECONDS", 2.0)
    shown = run(visitor, "import sys; sys.left = 1\nprint('begun')\nwhile True: pass")
    assert shown["output"] == "begun\n"
    assert "it ran for more than 2 s" in shown["error"]
    monkeypatch.setattr(snippets, "SECONDS", 30.0)
    assert run(visitor, "import sys; hasattr(sys, 'left')")["output"] == "False\n"


def test_a_request_without_code_is_refused(visitor: TestClient) -> None:
    assert visitor.post("/run", json={}).status_code == 422
