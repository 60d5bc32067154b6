"""Code that changes what a session shares with its process, and what comes of it.

sys.exit(), exit(3), raise SystemExit    the cell ends as "exit"; the session goes on
                                         (with its text: here; the rest: test_session)
sys.exit() in a thread                   the thread ends, and nothing else
os._exit(3)                              the process ends, and with it all sessions of the app:
                                         `HostDied`, "left with exit code 3"
os.abort(), signal.alarm(), os.kill()    the same, "was killed by …"
sys.stdout.close()                       nothing; sys.__stdout__.close() too
sys.stdout = …, None, and redirects      the session's own affair (test_session); once that is
                                         closed, print raises ValueError until it is set back
sys.stdout = sys.__stdout__              the session's console is back
sys.stderr = None                        failures and the text of an exit are told all the same
del sys.stdout                           AttributeError
os.close(1), os.close(2)                 the session's console goes on; for all descriptors see
                                         tests/server/test_sessions
signal.signal()                          ValueError, as on any thread but the main one
SIGINT                                   nothing (an interrupt is the client's to send)
awaits and asyncio's loops               test_loops
os.fork()                                test_forks, and among much else test_storm
multiprocessing, by spawn or fork        works with the cell's functions (test_session)
subprocess                               works; what it captures is the cell's, and what is left
                                         behind ends with the process (tests/server/test_hosts)
"""

from __future__ import annotations

import pytest
from kernel.conftest import Client, OpenApp, of, printed

from mpkernel.kernel.messages import Done, Failure, Restarted


async def error_of(client: Client, code: str) -> tuple[str, str]:
    """Execute code that must fail. Returns the exception's class and message."""
    (failure,) = of(await client.run(code), Failure)
    return failure.error, failure.message


@pytest.mark.parametrize(
    "code",
    [
        "import sys; sys.stderr = None",
        "import io, sys; sys.stderr = io.StringIO(); sys.stderr.close()",
        "import sys; sys.stderr = open('/dev/full', 'w', 1)",
    ],
)
async def test_failures_and_exits_are_told_without_a_stderr_that_works(
    client: Client, code: str
) -> None:
    await client.run(code)
    assert await error_of(client, "1 / 0") == ("ZeroDivisionError", "division by zero")
    messages = await client.run("sys.exit('a word')")
    assert printed(messages, "stderr") == "a word\n"
    (done,) = of(messages, Done)
    assert (done.outcome, done.exit_code) == ("exit", 1)
    assert await client.text("print('here')") == "here\n"


async def test_an_exit_in_a_thread_ends_that_thread(client: Client) -> None:
    text = await client.text(
        """\
        import sys, threading
        thread = threading.Thread(target=sys.exit, args=(3,))
        thread.start()
        thread.join()
        print("here")
        """
    )
    assert text == "here\n"


@pytest.mark.parametrize(
    ("code", "ending"),
    [
        ("os._exit(3)", "left with exit code 3"),
        ("threading.Thread(target=os._exit, args=(3,)).start(); input()", "left with exit code 3"),
        ("os.close(1); os.close(2); os._exit(3)", "left with exit code 3"),
        ("os.abort()", "was killed by SIGABRT"),
        ("signal.raise_signal(signal.SIGTERM); input()", "was killed by SIGTERM"),
        ("signal.alarm(1); input()", "was killed by SIGALRM"),
    ],
)
async def test_what_ends_the_process_takes_all_sessions_of_its_app_to_another(
    open_app: OpenApp, code: str, ending: str
) -> None:
    client, other = await open_app(), await open_app()
    neighbour = await open_app(name="neighbour.py")
    await neighbour.run("x = 1")
    client.execute(f"import os, signal, threading\n{code}", cell="last")
    for session in (client, other):
        restarted = await session.wait_for(Restarted)
        assert restarted.reason.endswith(ending)
        assert await session.text("print('here')") == "here\n"
    assert await neighbour.text("print(x)") == "1\n"


@pytest.mark.parametrize(
    "stream", ["sys.stdout", "sys.stdout.buffer", "sys.__stdout__", "vars(sys)['stdout']"]
)
async def test_closing_stdout_closes_it_for_nobody(open_app: OpenApp, stream: str) -> None:
    client, other = await open_app(), await open_app()
    text = await client.text(f"import sys; {stream}.close(); print('still', sys.stdout.closed)")
    assert text == "still False\n"
    for session in (client, other):
        assert await session.text("print('here')") == "here\n"
        (failure,) = of(await session.run("raise LookupError"), Failure)
        assert failure.error == "LookupError"


async def test_what_stdout_is_set_to_may_be_closed_and_set_back(open_app: OpenApp) -> None:
    client, other = await open_app(), await open_app()
    await client.run("import io, sys; sys.stdout = io.StringIO(); sys.stdout.close()")
    closed = ("ValueError", "I/O operation on closed file")
    assert await error_of(client, "print('lost')") == closed
    assert await other.text("print('here')") == "here\n"
    assert await client.text("sys.stdout = sys.__stdout__; print('back')") == "back\n"


async def test_stdout_cannot_be_deleted(client: Client) -> None:
    error, _ = await error_of(client, "import sys; del sys.stdout")
    assert error == "AttributeError"
    assert await client.text("print('here')") == "here\n"


@pytest.mark.parametrize("fd", [1, 2])
async def test_closing_a_descriptor_leaves_the_console(open_app: OpenApp, fd: int) -> None:
    client, other = await open_app(), await open_app()
    messages = await client.run(
        f"import os, sys; os.close({fd}); print('out'); print('err', file=sys.stderr)"
    )
    assert (printed(messages), printed(messages, "stderr")) == ("out\n", "err\n")
    for session in (client, other):
        assert await session.text("print('here')") == "here\n"
        assert (await error_of(session, "1 / 0"))[0] == "ZeroDivisionError"
    captured = "import subprocess; print(subprocess.check_output(['echo', 'out'], text=True))"
    assert await client.text(captured) == "out\n\n"


@pytest.mark.parametrize(
    "code",
    [
        "signal.signal(signal.SIGTERM, print)",
        "signal.signal(signal.SIGINT, signal.SIG_IGN)",
        "signal.set_wakeup_fd(-1)",
    ],
)
async def test_a_signal_handler_is_refused(client: Client, code: str) -> None:
    error, message = await error_of(client, f"import signal; {code}")
    assert error == "ValueError"
    assert "main thread" in message
    assert await client.text("print('here')") == "here\n"


@pytest.mark.parametrize(
    "code",
    [
        "os.kill(os.getpid(), signal.SIGINT)",
        "signal.raise_signal(signal.SIGINT)",
        "_thread.interrupt_main()",
    ],
)
async def test_a_sigint_of_its_own_does_nothing(open_app: OpenApp, code: str) -> None:
    client, other = await open_app(), await open_app()
    text = await client.text(f"import _thread, os, signal\n{code}\nprint('here')")
    assert text == "here\n"
    assert await other.text("print('here')") == "here\n"


async def test_a_subprocess_gives_its_output_to_the_cell(client: Client) -> None:
    text = await client.text(
        """\
        import subprocess, sys
        done = subprocess.run([sys.executable, "-c", "print(input())"],
                              input="word", capture_output=True, text=True)
        print(done.returncode, done.stdout)
        """
    )
    assert text == "0 word\n\n"
