"""`pdb` in a session: the client answers its prompts, and it sees the user's code alone."""

from __future__ import annotations

import textwrap

import pytest
from kernel.conftest import Client, OpenApp, of, printed, until_ended

from mpkernel.kernel.messages import Console, Done, Failure, InputRequest, Message, Status


async def debug(client: Client, code: str, *answers: str | None) -> list[Message]:
    """Execute code, answer the debugger's prompts; what came. There must be as many of them."""
    client.execute(textwrap.dedent(code), cell="cell")
    client.messages.clear()
    for answer in answers:
        request = await client.wait_for(InputRequest)
        assert request == InputRequest("(Pdb) ", False, "cell")
        client.answer(answer)
    await client.wait_for(Status, state="idle")
    assert len(of(client.messages, InputRequest)) == len(answers)
    return list(client.messages)


async def step_through(client: Client, code: str, command: str) -> str:
    """Execute code, give the debugger this command whenever it asks; what was printed."""
    client.execute(textwrap.dedent(code), cell="cell")
    client.messages.clear()
    while not of(client.messages, Done):
        message = await client.next()
        client.messages.append(message)
        if isinstance(message, InputRequest):
            client.answer(command)
    assert outcome(client.messages) == "ok"
    assert of(client.messages, InputRequest)
    await client.wait_for(Status, state="idle")
    text = printed(client.messages)
    assert "mpkernel" not in text
    return text


def outcome(messages: list[Message]) -> str:
    (done,) = of(messages, Done)
    assert isinstance(done, Done)
    return done.outcome


@pytest.mark.parametrize("stop", ["breakpoint()", "import pdb; pdb.set_trace()"])
async def test_a_breakpoint_shows_steps_and_goes_on(client: Client, stop: str) -> None:
    messages = await debug(
        client,
        f"""\
        def double(n):
            result = 2 * n
            return result
        x = 20
        {stop}; y = 1
        y = double(x + 1)
        print("y is", y)
        """,
        "p x",
        "x = 30",
        "until 6",
        "step",
        "next",
        "next",
        "p result",
        "where",
        "continue",
    )
    assert outcome(messages) == "ok"
    text = printed(messages)
    assert "\n20\n" in text
    assert "<cell cell>(1)double()" in text
    assert "\n62\n" in text
    assert text.endswith("y is 62\n")
    assert "mpkernel" not in text
    assert await client.text("print(y)") == "62\n"


@pytest.mark.parametrize("leave", ["q", None])
async def test_to_quit_ends_the_cell_and_the_next_one_runs(
    client: Client, leave: str | None
) -> None:
    messages = await debug(client, "x = 1\nbreakpoint(); x = 2\nx = 3\nprint('never')", "n", leave)
    assert outcome(messages) == "error"
    assert of(messages, Failure)[0].error == "BdbQuit"
    assert "never" not in printed(messages)
    assert await client.text("print('next', x < 4)") == "next True\n"


@pytest.mark.parametrize("command", ["step", "next", "return"])
async def test_stepping_never_leaves_the_users_code(client: Client, command: str) -> None:
    """Not where it prints or shows something, and not at the cell's end."""
    text = await step_through(
        client,
        "breakpoint(); x = 1\nprint(x)\nimport sys; sys.stdout.write('two\\n')\nx + 2",
        command,
    )
    assert "two\n" in text
    assert "contextlib" not in text
    assert await client.text("print('next')") == "next\n"


@pytest.mark.parametrize("command", ["step", "next", "return"])
async def test_stepping_through_awaits_ends_with_the_cell(client: Client, command: str) -> None:
    text = await step_through(
        client,
        """\
        import asyncio
        async def double(n):
            await asyncio.sleep(0)
            return 2 * n
        breakpoint(); x = 1
        x = await double(21)
        print(x)
        """,
        command,
    )
    assert "42\n" in text
    assert "base_events.py" not in text
    assert await client.text("print(await double(4))") == "8\n"


async def test_a_stack_begins_with_the_users_code(client: Client) -> None:
    messages = await debug(
        client,
        """\
        def inner():
            breakpoint(); x = 1
            return x
        inner()
        """,
        "where",
        "up",
        "p __name__",
        "up",
        "continue",
    )
    text = printed(messages)
    assert "'__main__'\n" in text
    assert "*** Oldest frame\n" in text
    assert "mpkernel" not in text
    assert "threading" not in text


async def test_post_mortem_shows_where_it_failed(client: Client) -> None:
    messages = await debug(
        client,
        """\
        import pdb
        def fail(n):
            return 1 / n
        try:
            fail(0)
        except ZeroDivisionError as error:
            pdb.post_mortem(error.__traceback__)
        print("on")
        """,
        "p n",
        "up",
        "q",
    )
    assert outcome(messages) == "ok"
    assert "\n0\n" in printed(messages)
    assert printed(messages).endswith("on\n")


async def test_a_thread_may_stop_at_a_breakpoint(client: Client) -> None:
    messages = await debug(
        client,
        """\
        import threading
        def work(n):
            breakpoint(); x = 1
            print("n is", n)
        thread = threading.Thread(target=work, args=(5,))
        thread.start()
        thread.join()
        """,
        "!n = 6",
        "continue",
    )
    assert outcome(messages) == "ok"
    assert printed(messages).endswith("n is 6\n")


async def test_an_interrupt_at_the_prompt_asks_again(client: Client) -> None:
    """Ctrl-C in a terminal has the same effect."""
    client.execute("breakpoint(); x = 1\nx = 2", cell="cell")
    await client.wait_for(InputRequest)
    client.interrupt()
    await client.wait_for(InputRequest)
    assert "--KeyboardInterrupt--\n" in printed(client.messages)
    client.answer("continue")
    assert (await client.wait_for(Done)).outcome == "ok"


async def test_a_session_at_the_prompt_holds_nobody_and_can_be_closed(open_app: OpenApp) -> None:
    client, other = await open_app(), await open_app()
    client.execute("breakpoint(); x = 1\nprint('never')", cell="cell")
    await client.wait_for(InputRequest)
    assert await other.text("print('here')") == "here\n"
    messages = await debug(other, "breakpoint(); x = 1\nprint('other')", "continue")
    assert printed(messages).endswith("other\n")
    await client.close()
    await until_ended(other)
    assert not [m for m in of(client.messages, Console) if "never" in m.text]
