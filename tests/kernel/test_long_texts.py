"""Texts and outputs that are too long for one message: each ends at its own cell, and its session
goes on. The pool allows the smallest messages that it can be told to allow."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from kernel.conftest import OpenApp, of, printed

from mpkernel import HostPool, Settings
from mpkernel.kernel.messages import Completions, Console, Done, Failure, InputRequest, Outputs

_LONG = 1_000_000


@pytest.fixture
async def pool() -> AsyncIterator[HostPool]:
    async with HostPool(Settings(max_frame_bytes=65_536, window_bytes=65_536)) as pool:
        yield pool


@pytest.mark.parametrize("text", ["x", "é", "日", "🙂", "line\n", "🙂x\n"])
@pytest.mark.parametrize("how", ["print(text)", "for one in text: print(one, end='')"])
async def test_what_is_printed_arrives_whole(open_app: OpenApp, text: str, how: str) -> None:
    client = await open_app()
    messages = await client.run(f"text = {text!r} * 50_000\n{how}")
    assert printed(messages).rstrip("\n") == (text * 50_000).rstrip("\n")
    assert [done.outcome for done in of(messages, Done)] == ["ok"]


async def test_what_is_written_to_the_descriptor_arrives_whole(open_app: OpenApp) -> None:
    client = await open_app()
    client.execute("import os\nos.write(1, '🙂x\\n'.encode() * 50_000)", cell="writes")
    text = ""
    while len(text) < 3 * 50_000:
        text += (await client.wait_for(Console)).text
    assert text == "🙂x\n" * 50_000


@pytest.mark.parametrize(
    "code",
    [
        f"raise ValueError('x' * {_LONG})",
        f"raise ValueError('🙂' * {_LONG})",
        f"raise ValueError('\\ud800' * {_LONG})",
        f"raise type('E' * {_LONG}, (Exception,), {{}})('a text')",
        f"class Error(Exception):\n    def __str__(self): return 'x' * {_LONG}\nraise Error",
    ],
)
async def test_the_middle_of_a_long_failure_is_cut(open_app: OpenApp, code: str) -> None:
    client = await open_app()
    messages = await client.run(code)
    [failure] = of(messages, Failure)
    assert "characters were cut here" in failure.traceback
    assert failure.traceback.startswith("Traceback (most recent call last):")
    assert await client.text("print('goes on')") == "goes on\n"


async def test_a_long_text_of_an_exit_arrives_whole(open_app: OpenApp) -> None:
    client = await open_app()
    messages = await client.run(f"import sys\nsys.exit('x' * {_LONG})")
    assert printed(messages, "stderr") == "x" * _LONG + "\n"
    assert [done.outcome for done in of(messages, Done)] == ["exit"]


async def test_the_middle_of_a_long_prompt_is_cut(open_app: OpenApp) -> None:
    client = await open_app()
    client.execute(f"print(input('a' + 'x' * {_LONG} + 'b'))", cell="asks")
    prompt = (await client.wait_for(InputRequest)).prompt
    assert prompt.startswith("ax")
    assert prompt.endswith("xb")
    assert "characters were cut here" in prompt
    client.answer("an answer")
    assert (await client.wait_for(Done)).outcome == "ok"


_WIDE = """
class Wide:
    def _repr_html_(self):
        return "<p>" + "x" * 30_000 + "</p>"
"""


@pytest.mark.parametrize("caught", [False, True], ids=["raised", "caught"])
async def test_outputs_that_are_too_large_together_fail(open_app: OpenApp, caught: bool) -> None:
    client = await open_app()
    append = "from mpkernel.kernel import outputs\n" + _WIDE
    append += "try:\n    for _ in range(3): outputs.append(Wide())\n"
    append += "except Exception:\n    pass" if caught else "finally:\n    pass"
    messages = await client.run(append)
    [failure] = of(messages, Failure)
    assert "over the limit of 65536" in failure.message
    assert "raise max_frame_bytes" in failure.message
    assert [done.outcome for done in of(messages, Done)] == ["error"]
    assert len(of(messages, Outputs)[-1].figures) == 2
    assert await client.text("print('goes on')") == "goes on\n"


async def test_completions_that_are_too_many_are_none(open_app: OpenApp) -> None:
    client = await open_app()
    await client.text("globals().update({'name_' + f'{n:0200}': n for n in range(500)})")
    client.complete(1, "name", 4)
    assert (await client.wait_for(Completions)).matches == []
    await client.text("name_of_mine = 1")
    client.complete(2, "name_of", 7)
    assert "name_of_mine" in (await client.wait_for(Completions)).matches


async def test_completions_go_on_after_one_that_could_not_be_found(open_app: OpenApp) -> None:
    client = await open_app()
    await client.text(
        """
        class Slotted:
            __slots__ = ("place",)

        class Borrows:
            place = Slotted.place  # which is for objects of the other class only

        borrows, name_of_mine = Borrows(), 1
        """
    )
    client.complete(1, "borrows.place.", 14)
    assert (await client.wait_for(Completions, request=1)).matches == []
    client.complete(2, "name_of", 7)
    assert (await client.wait_for(Completions, request=2)).matches == ["name_of_mine"]
