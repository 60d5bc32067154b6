"""`parse` gives the tree of code that is right, whatever other threads do meanwhile."""

from __future__ import annotations

import ast
import gc
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeAlias

import pytest

from mpkernel.marimo_backend import seam
from mpkernel.parsing import parse

Parse: TypeAlias = Callable[[str], ast.Module]

CODE = "\n".join(f"x{i} = [a for a in range({i}) if a + (1 * 2)]" for i in range(50))


class Cycle:
    """Garbage whose end gives others the interpreter's lock."""

    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        time.sleep(0)


@pytest.fixture
def often() -> Iterator[None]:
    """Threads take turns as often as can be, and garbage is collected as often."""
    interval, thresholds = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(1e-6)
    gc.set_threshold(10)
    yield
    sys.setswitchinterval(interval)
    gc.set_threshold(*thresholds)


@pytest.fixture(params=["ours", "marimo's"])
def parsing(request: pytest.FixtureRequest) -> Parse:
    if request.param == "ours":
        return parse
    seam.parse_again_if_disturbed()
    seam.parse_again_if_disturbed()
    marimos: Parse = seam.host("ast_parse")
    return marimos


@pytest.mark.usefixtures("often")
def test_threads_that_parse_at_once_get_the_tree_each(parsing: Parse) -> None:
    wanted = ast.dump(ast.parse(CODE))
    found: list[str] = []

    def work() -> None:
        for _ in range(50):
            Cycle()
            found.append(ast.dump(parsing(CODE)))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 * 50
    assert set(found) == {wanted}


def test_code_that_is_wrong_is_an_error() -> None:
    with pytest.raises(SyntaxError) as caught:
        parse("x =", "app.py")
    assert caught.value.filename == "app.py"
