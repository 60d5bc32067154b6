"""The embedded kernel as a client sees it: commands, namespaces, console."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from kernel.broken_exceptions import BROKEN
from kernel.conftest import Client, OpenApp, of, printed

from mpkernel import HostPool
from mpkernel.kernel.messages import (
    Completions,
    Console,
    Done,
    Failure,
    InputRequest,
    Outputs,
    Status,
)


async def test_code_prints_and_shows_its_last_value(client: Client) -> None:
    messages = await client.run("x = 20\nprint('printed')\nx + 22")
    assert printed(messages) == "printed\n"
    (outputs,) = of(messages, Outputs)
    assert [(f.media_type, f.data) for f in outputs.figures] == [("text/plain", "42")]
    (done,) = of(messages, Done)
    assert (done.cell, done.outcome) == ("cell", "ok")
    assert messages[-1] == Status("idle")


async def test_what_is_printed_and_shown_comes_in_its_order(client: Client) -> None:
    messages = await client.run(
        "from mpkernel.kernel import outputs\n"
        "print('one')\noutputs.append(1)\nprint('two')\noutputs.append(2)\nprint('three')\n3"
    )
    order = [
        message.text if isinstance(message, Console) else [f.data for f in message.figures]
        for message in messages
        if isinstance(message, Console | Outputs)
    ]
    assert order == ["one\n", ["1"], "two\n", ["1", "2"], "three\n", ["1", "2", "3"]]


async def test_the_cells_of_an_app_run_in_order_until_one_fails(open_app: OpenApp) -> None:
    client = await open_app(
        """\
        a = 1
        # %% second
        print(a + 1)
        # %%
        raise LookupError("on purpose")
        # %%
        print("never")
        """
    )
    client.run_app()
    messages = await client.wait_idle()
    assert printed(messages) == "2\n"
    assert [done.outcome for done in of(messages, Done)] == ["ok", "ok", "error"]
    (failure,) = of(messages, Failure)
    assert (failure.error, failure.message) == ("LookupError", "on purpose")
    app = client.session.app
    assert failure.traceback == (
        "Traceback (most recent call last):\n"
        f'  File "{app}", line 5, in <module>\n'
        '    raise LookupError("on purpose")\n'
        "LookupError: on purpose\n"
    )


async def test_sessions_of_one_process_have_namespaces_of_their_own(open_app: OpenApp) -> None:
    clients = [await open_app() for _ in range(3)]
    for number, client in enumerate(clients):
        await client.run(f"name = {number}")
    for number, client in enumerate(clients):
        assert await client.text("import __main__; print(name, __main__.name)") == (
            f"{number} {number}\n"
        )
    assert len({client.session.pid for client in clients}) == 1


async def test_what_a_cell_defines_is_found_in_main(open_app: OpenApp, tmp_path: Path) -> None:
    client = await open_app(
        """\
        import dataclasses, inspect, pickle, sys

        @dataclasses.dataclass
        class Point:
            x: "int"

        def double(n):
            return 2 * n
        """
    )
    client.run_app()
    await client.wait_idle()
    text = await client.text(
        """\
        print(pickle.loads(pickle.dumps(Point(3))), Point.__module__)
        print(inspect.getsource(double))
        print(sys.argv, sys.path[0], __file__, __name__)
        """
    )
    app = str(tmp_path / "app.py")
    assert text == (
        "Point(x=3) __main__\n"
        "def double(n):\n    return 2 * n\n\n"
        f"{[app]} {tmp_path} {app} __main__\n"
    )


@pytest.mark.parametrize("method", ["fork", "spawn"])
async def test_processes_run_functions_of_the_app(open_app: OpenApp, method: str) -> None:
    client = await open_app(
        f"""\
        import multiprocessing

        def double(n):
            return 2 * n

        if __name__ == "__main__":
            with multiprocessing.get_context("{method}").Pool(2) as workers:
                print(workers.map(double, range(4)))
        """
    )
    client.run_app()
    assert printed(await client.wait_idle()) == "[0, 2, 4, 6]\n"


async def test_code_awaits_at_its_top_level_and_runs_loops_elsewhere(client: Client) -> None:
    assert (
        await client.text(
            """\
            import asyncio
            async def later(n):
                await asyncio.sleep(0)
                return n
            print(await later(1))
            """
        )
        == "1\n"
    )
    assert await client.text("print(asyncio.run(later(2)))") == "2\n"


async def test_set_values_runs_again_what_reads_them_and_what_reads_that(
    open_app: OpenApp,
) -> None:
    client = await open_app(
        """\
        n = 1
        # %%
        square = n * n
        # %%
        print("independent")
        # %%
        print("square is", square)
        """
    )
    client.run_app()
    await client.wait_idle()
    client.set_values({"n": 7})
    messages = await client.wait_idle()
    assert printed(messages) == "square is 49\n"
    assert [done.cell for done in of(messages, Done)] == ["cell-2", "cell-4"]


async def test_sets_that_wait_are_merged(open_app: OpenApp) -> None:
    client = await open_app("n = m = 0\n# %%\nprint('saw', n, m)\n")
    client.run_app()
    await client.wait_idle()
    client.execute("input()", cell="busy")
    await client.wait_for(InputRequest)
    for n in range(100):
        client.set_values({"n": n})
    client.set_values({"m": 5})
    client.answer("go on")
    await client.wait_for(Status, state="idle")
    assert printed(await client.wait_idle()) == "saw 99 5\n"
    client.execute("print('next')", cell="next")
    assert printed(await client.wait_idle()) == "next\n"


async def test_input_asks_the_client(client: Client) -> None:
    client.execute("import getpass\nprint(input('Name? '), getpass.getpass('Word? '))", cell="c")
    request = await client.wait_for(InputRequest)
    assert (request.prompt, request.secret) == ("Name? ", False)
    client.answer("Ada")
    request = await client.wait_for(InputRequest)
    assert (request.prompt, request.secret) == ("Word? ", True)
    client.answer("xyz")
    assert (await client.wait_for(Console)).text == "Ada xyz\n"
    await client.wait_for(Status, state="idle")
    client.execute("input()", cell="c")
    await client.wait_for(InputRequest)
    client.answer(None)
    assert (await client.wait_for(Failure)).error == "EOFError"


async def test_completion_is_answered_while_a_cell_runs(client: Client) -> None:
    await client.run("alphabet = 1")
    client.execute("input()", cell="busy")
    await client.wait_for(InputRequest)
    client.complete(7, "print(alph", 10)
    assert await client.wait_for(Completions) == Completions(7, 6, ["alphabet"])
    client.answer("")
    await client.wait_for(Status, state="idle")


async def test_exits_end_the_cell_and_not_the_session(client: Client) -> None:
    for code, exit_code in (("import sys; sys.exit()", 0), ("exit(3)", 3), ("raise SystemExit", 0)):
        (done,) = of(await client.run(code), Done)
        assert (done.outcome, done.exit_code) == ("exit", exit_code)
    messages = await client.run("raise SystemExit('a word')")
    assert of(messages, Done)[0].exit_code == 1
    assert printed(messages, "stderr") == "a word\n"
    assert await client.text("print('here')") == "here\n"


async def test_a_failure_that_cannot_be_written_ends_the_cell_and_not_the_session(
    client: Client,
) -> None:
    for code, told in (
        (r"exec(compile('1/0', '\ud800.py', 'exec'))", "ZeroDivisionError: division by zero\n(the"),
        ("raise SyntaxError('no', ('a.py', 1, 2, 3))", "SyntaxError: no"),
        ("raise Broken", "Broken: <"),
        ("raise Nameless", "Nameless: \n"),
        ("raise Frameless", "raise Frameless\nFrameless\n"),
    ):
        messages = await client.run(f"{BROKEN}\n{code}")
        (failure,) = of(messages, Failure)
        assert told in failure.traceback
        assert of(messages, Done)[0].outcome == "error"
    messages = await client.run(f"{BROKEN}\nraise SystemExit(Broken())")
    assert of(messages, Done)[0].outcome == "exit"
    assert "unprintable SystemExit" in printed(messages, "stderr")
    messages = await client.run(f"{BROKEN}\nraise Codeless")
    assert of(messages, Done)[0].outcome == "exit"
    assert "Codeless without its exit code: not even" in printed(messages, "stderr")
    messages = await client.run(f"{BROKEN}\nsys.stderr = Deaf()\nraise SystemExit('bye')")
    assert of(messages, Done)[0].outcome == "exit"
    assert printed(messages, "stderr") == "bye\n"
    assert await client.text("print('here')") == "here\n"


async def test_standard_streams_are_a_sessions_own_to_set(open_app: OpenApp) -> None:
    first, second = await open_app(), await open_app()
    await first.run("import io, sys; before = sys.stdout; sys.stdout = io.StringIO()")
    assert printed(await first.run("print('kept')")) == ""
    assert await second.text("print('seen')") == "seen\n"
    assert (
        await first.text("text = sys.stdout.getvalue(); sys.stdout = before; print(repr(text))")
        == repr("kept\n") + "\n"
    )
    assert printed(await first.run("sys.stdout = None; print('nowhere')")) == ""
    assert await second.text("print('seen')") == "seen\n"
    await first.run("sys.stdout = before")
    assert (
        await first.text(
            """\
            import contextlib
            with contextlib.redirect_stdout(io.StringIO()) as text:
                print("inside")
            print("outside", text.getvalue())
            """
        )
        == "outside inside\n\n"
    )


async def test_a_capture_takes_its_threads_text_only(client: Client) -> None:
    text = await client.text(
        """\
        import threading
        from mpkernel.kernel.sysstreams import capture_stdout
        inside, go_on = threading.Event(), threading.Event()
        def other():
            inside.wait()
            print("other")
            go_on.set()
        thread = threading.Thread(target=other)
        thread.start()
        with capture_stdout() as captured:
            print("mine")
            inside.set()
            go_on.wait()
        print("captured", captured.getvalue())
        """
    )
    assert text == "other\ncaptured mine\n\n"


async def test_threads_and_pools_of_a_cell_print_as_it(client: Client) -> None:
    messages = await client.run(
        """\
        from concurrent.futures import ThreadPoolExecutor
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(print, range(5)))
        """,
        cell="pool",
    )
    assert sorted(printed(messages).split()) == list("01234")
    assert {console.cell for console in of(messages, Console)} == {"pool"}


async def test_many_prints_are_few_messages(client: Client) -> None:
    messages = await client.run("for n in range(100_000): print(n)")
    assert printed(messages) == "".join(f"{n}\n" for n in range(100_000))
    assert len(of(messages, Console)) < 500


async def test_a_large_figure_is_a_virtual_file(client: Client, pool: HostPool) -> None:
    messages = await client.run(
        """\
        class Large:
            def _mime_(self):
                return "text/html", "<p>" + "x" * 3_000_000
        Large()
        """
    )
    (outputs,) = of(messages, Outputs)
    (figure,) = outputs.figures
    assert (figure.media_type, figure.is_url) == ("text/html", True)
    key = figure.data.rpartition("/")[2].partition("-")[2]
    with pool.files.lease(key) as entry:
        assert b"".join(entry.chunks()) == b"<p>" + b"x" * 3_000_000


async def test_a_cell_that_runs_again_shows_nothing_of_before(client: Client) -> None:
    await client.run("6 * 7", cell="cell")
    messages = await client.run("x = 1", cell="cell")
    assert of(messages, Outputs) == [Outputs("cell", [])]


async def test_a_figure_that_is_shown_no_more_costs_no_memory(
    client: Client, pool: HostPool
) -> None:
    await client.text(
        """\
        from mpkernel.kernel import outputs
        class Large:
            def __init__(self, n):
                self.n = n
            def _mime_(self):
                return "text/html", str(self.n) * 2_000_000
        for n in range(20):
            outputs.replace(Large(n))
        """
    )
    await client.text("pass")  # what was removed goes with the next message
    assert len(pool.files) == 1


async def test_what_waits_is_not_run_when_the_session_is_closed(
    open_app: OpenApp, tmp_path: Path
) -> None:
    client, other = await open_app(), await open_app()
    client.execute("input()", cell="busy")
    await client.wait_for(InputRequest)
    marker = tmp_path / "marker"
    client.execute(f"open({str(marker)!r}, 'w')", cell="late")
    await client.close()
    await other.text(
        "import threading\n"
        "for thread in threading.enumerate():\n"
        "    if thread.name == 'session-1': thread.join(20)"
    )
    assert not marker.exists()


async def test_nonsense_from_a_client_is_dropped(client: Client) -> None:
    from mpkernel import Channel

    client.session.send(Channel.CONTROL, b"nonsense")
    client.session.send(Channel.UI_ELEMENT, os.urandom(1000))
    assert await client.text("print('here')") == "here\n"
