"""What a child process does that a cell forks, and that its parent is not affected. (`test_storm`
tests a child that ends in the cell, and `test_session` tests pools.)"""

from __future__ import annotations

import pytest
from kernel.conftest import Client, OpenApp

# A fork whose descriptors 1 and 2 are pipes; `end(child)` gives its exit code and its text.
FORKS = """\
import os, sys, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # of forks in a process with threads

def fork():
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        return child, reading
    os.dup2(writing, 1)
    os.dup2(writing, 2)
    os.close(writing)
    return 0, -1

def end(child, reading):
    with open(reading) as file:
        text = file.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), text
"""


@pytest.fixture
async def forking(open_app: OpenApp) -> Client:
    client = await open_app(FORKS)
    client.run_app()
    await client.wait_idle()
    return client


@pytest.mark.parametrize(
    ("child", "exit_code", "text"),
    [
        ("print('child')", 0, "child\n"),
        ("print('child'); sys.exit(3)", 3, "child\n"),
        ("sys.exit('a word')", 1, "a word\n"),
        ("print('child', end=''); 40 + 2", 0, "child"),
    ],
)
async def test_a_child_that_runs_on_ends_with_its_cell(
    forking: Client, child: str, exit_code: int, text: str
) -> None:
    told = await forking.text(
        f"""\
        child, reading = fork()
        if not child:
            exec({child!r})
        else:
            print(end(child, reading))
        """
    )
    assert told == f"{(exit_code, text)}\n"
    assert await forking.text("print('here')") == "here\n"


async def test_a_child_that_fails_tells_it_on_its_own_stderr(forking: Client) -> None:
    told = await forking.text(
        """\
        child, reading = fork()
        if not child:
            raise LookupError("on purpose")
        print(*end(child, reading), sep="\\n")
        """
    )
    assert told == (
        "1\n"
        "Traceback (most recent call last):\n"
        '  File "<cell cell>", line 3, in <module>\n'
        '    raise LookupError("on purpose")\n'
        "LookupError: on purpose\n\n"
    )


async def test_a_child_of_an_awaiting_cell_ends_with_it(forking: Client) -> None:
    told = await forking.text(
        """\
        import asyncio
        await asyncio.sleep(0)
        child, reading = fork()
        if child:
            print(await asyncio.to_thread(end, child, reading))
        else:
            print("child")
        """
    )
    assert told == f"{(0, 'child' + chr(10))}\n"
    assert await forking.text("print(await asyncio.sleep(0, 'here'))") == "here\n"


async def test_a_child_logs_to_its_own_stderr(forking: Client) -> None:
    """Although the handler keeps the session's stream."""
    told = await forking.text(
        """\
        import logging
        logging.basicConfig(format="%(message)s")
        child, reading = fork()
        if not child:
            logging.warning("child")
            logging.warning("x" * 100_000)  # more than a session's console keeps back
            os._exit(0)
        print(end(child, reading) == (0, "child\\n" + "x" * 100_000 + "\\n"))
        """
    )
    assert told == "True\n"


async def test_children_of_threads_are_their_sessions_children(forking: Client) -> None:
    told = await forking.text(
        """\
        from threading import Thread
        def work():
            child, reading = fork()
            if not child:
                print(os.getpid() != parent, flush=True)
                os._exit(0)
            ended.append(end(child, reading))
        parent, ended = os.getpid(), []
        threads = [Thread(target=work) for _ in range(8)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        print(set(ended), len(ended))
        """
    )
    assert told == f"{ {(0, 'True' + chr(10))} } 8\n"
