"""What code writes to descriptors 1 and 2 of its process, without Python's streams."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
from halves import host_of
from kernel.conftest import Client, OpenApp, printed
from waiting import PATIENCE_S

from mpkernel import HostPool, Settings
from mpkernel.kernel.messages import Completions, Console, Done, InputRequest, Status

FLOOD_LINES = 1024 * 1024
LINE = b"x" * 63 + b"\n"


async def wait_for_text(client: Client, text: str, stream: str = "stdout") -> list[Console]:
    """The messages of the console up to the one that completes this text."""
    messages: list[Console] = []
    while text not in printed(messages, stream):
        message = await client.wait_for(Console)
        messages.append(message)
    return messages


WRITES = {
    "os.write": "import os; os.write(1, b'hello\\n')",
    "printf": "import ctypes; ctypes.CDLL(None).printf(b'hello\\n')",
    "printf, flushed": """\
        import ctypes
        libc = ctypes.CDLL(None)
        libc.printf(b"hello")
        libc.fflush(None)
        """,
    "a subprocess": "import subprocess; subprocess.run(['echo', 'hello'])",
    "a forked child": """\
        import os
        if os.fork() == 0:
            print("hello", flush=True)
            os._exit(0)
        os.wait()
        """,
    "python's own file": "import sys; print('hello', file=sys.__stdout__)",
}


@pytest.mark.parametrize("how", WRITES)
async def test_what_is_written_to_descriptor_1_comes_to_the_session(
    open_app: OpenApp, how: str
) -> None:
    env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    client = await open_app(env=env)
    client.execute(textwrap.dedent(WRITES[how]), cell="writes")
    messages = await wait_for_text(client, "hello")
    assert printed(messages).strip() == "hello"
    assert {message.cell for message in messages} == {"writes"}


async def test_what_is_written_to_descriptor_2_comes_as_stderr(client: Client) -> None:
    client.execute("import os; os.write(2, b'oh\\n')", cell="writes")
    assert await wait_for_text(client, "oh\n", "stderr") == [Console("stderr", "oh\n", "writes")]


async def test_text_without_a_newline_comes_while_its_cell_runs(client: Client) -> None:
    client.execute("import os; os.write(1, b'Really? '); input()", cell="asks")
    assert await wait_for_text(client, "Really? ") == [Console("stdout", "Really? ", "asks")]
    client.answer("yes")
    await client.wait_for(Done)


async def test_a_character_in_two_pieces_is_one_and_what_is_none_is_shown_as_bytes(
    client: Client,
) -> None:
    client.execute(
        r"import os; os.write(1, b'caf\xc3'); input(); os.write(1, b'\xa9 \xff!')", cell="cell"
    )
    await wait_for_text(client, "caf")
    client.answer("")
    assert printed(await wait_for_text(client, "!")) == "é \\xff!"


async def test_each_cells_text_comes_under_its_name(open_app: OpenApp) -> None:
    cells = [f"os.write(1, b'of cell-{n}.')" for n in range(2, 10)]
    client = await open_app("\n# %%\n".join(["import os", *cells, "pass"]))
    for _ in range(5):
        client.run_app()
        for message in await wait_for_text(client, "of cell-9."):
            assert message.text == f"of {message.cell}."


async def test_text_of_the_first_command_is_not_lost(pool: HostPool, tmp_path: Path) -> None:
    for number in range(5):
        app = tmp_path / f"app{number}.py"
        app.write_text("import os; os.write(1, b'first')")
        client = await Client.open(pool, app)
        client.run_app()
        await wait_for_text(client, "first")


async def test_where_two_sessions_run_neither_gets_it_and_the_log_does(
    open_app: OpenApp, pool: HostPool, capfd: pytest.CaptureFixture[str]
) -> None:
    first, second = await open_app(), await open_app()
    first.execute("input()", cell="busy")
    await first.wait_for(InputRequest)
    to_second = await second.run("import os; os.write(1, b'whose? '); os.write(1, b'nobodys\\n')")
    first.answer("")
    await first.wait_for(Status, state="idle")
    to_first = list(first.messages)
    while "seconds" not in printed(to_second):  # the first's run was not long enough ago
        to_second += await second.run("os.write(1, b'seconds\\n')\nprint('ran')")
    assert set(printed(to_second).split()) == {"ran", "seconds"}
    to_first += await first.run("print('ran')")
    assert printed(to_first) == "ran\n"
    await pool.close()
    assert "[app.py] whose? nobodys\n" in capfd.readouterr().out


async def test_what_comes_while_no_session_runs_is_the_logs_only(
    client: Client, pool: HostPool, capfd: pytest.CaptureFixture[str]
) -> None:
    host = host_of(client.session)
    for fd, text in ((1, b"nobody's\n"), (2, b"nor this\n")):
        Path(f"/proc/{host.pid}/fd/{fd}").write_bytes(text)
    async with asyncio.timeout(PATIENCE_S):
        while set(host.last_lines()) != {"nobody's", "nor this"}:
            await asyncio.sleep(0.01)
    client.execute("import os; os.write(1, b'mine'); os.write(2, b'mine')", cell="cell")
    await wait_for_text(client, "mine")
    while "mine" not in printed(client.messages, "stderr"):
        await client.wait_for(Console)
    assert printed(client.messages) == printed(client.messages, "stderr") == "mine"
    await pool.close()
    log = capfd.readouterr()
    assert "[app.py] nobody's\n" in log.out
    assert "[app.py] nor this\n" in log.err


async def test_a_flood_that_is_not_read_holds_nobody_up_and_fills_no_memory(
    open_app: OpenApp, pool: HostPool, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    flooded, other = await open_app(), await open_app()
    server, host = psutil.Process(), psutil.Process(other.session.pid)
    before = server.memory_info().rss, host.memory_info().rss
    done = fifo(tmp_path / "done")
    flooded.execute(f"import subprocess\nsubprocess.run({flood(done)})", cell="flood")
    flood_ended = asyncio.create_task(asyncio.to_thread(done.read_bytes))
    answers = 0
    while not flood_ended.done() or answers < 100:
        other.complete(answers, "prin", 4)
        assert (await other.wait_for(Completions)).matches == ["print"]
        answers += 1
    assert await flood_ended == b"done"
    after = server.memory_info().rss, host.memory_info().rss
    for early, late in zip(before, after, strict=True):
        assert late - early < 48 * 1024 * 1024
    flooded.messages.clear()
    assert (await flooded.wait_for(Done)).outcome == "ok"
    while "[mpkernel:" not in printed(flooded.messages):
        await flooded.wait_for(Console)
    assert len(printed(flooded.messages)) < FLOOD_LINES * len(LINE)
    await pool.close()
    assert capfd.readouterr().out.count(f"[app.py] {LINE.decode()}") == FLOOD_LINES


@pytest.fixture
async def silent_pool() -> AsyncIterator[HostPool]:
    async with HostPool(Settings(relay_console=False)) as pool:
        yield pool


async def test_a_stopped_process_holds_up_no_other_and_is_told_what_it_missed(
    silent_pool: HostPool, tmp_path: Path
) -> None:
    clients = []
    for name in ("stopped.py", "other.py"):
        (tmp_path / name).write_text("")
        clients.append(await Client.open(silent_pool, tmp_path / name))
        await clients[-1].wait_for(Status, state="idle")
    stopped, other = clients
    server = psutil.Process()
    before = server.memory_info().rss
    go, done = fifo(tmp_path / "go"), fifo(tmp_path / "done")
    stopped.execute(
        f"""import subprocess\nsubprocess.Popen({flood(done, after=go)})\ninput()""", cell="flood"
    )
    await stopped.wait_for(InputRequest)
    os.kill(stopped.session.pid, signal.SIGSTOP)
    try:
        await asyncio.to_thread(go.write_bytes, b"go")
        assert await asyncio.to_thread(done.read_bytes) == b"done"
        other.execute("import os; os.write(1, b'here')", cell="cell")
        await wait_for_text(other, "here")
        assert server.memory_info().rss - before < 16 * 1024 * 1024
    finally:
        os.kill(stopped.session.pid, signal.SIGCONT)
    await wait_for_text(stopped, "[mpkernel:")
    stopped.answer("")
    assert (await stopped.wait_for(Done)).outcome == "ok"


def fifo(path: Path) -> Path:
    os.mkfifo(path)
    return path


def flood(done: Path, *, after: Path | None = None) -> str:
    """The command, as source, of a program that writes a lot to its descriptor 1, then says so."""
    wait = f"open({str(after)!r}).read(); " if after is not None else ""
    code = (
        f"import os; {wait}lines = {LINE!r} * 1024\n"
        f"for _ in range({FLOOD_LINES // 1024}): os.write(1, lines)\n"
        f"open({str(done)!r}, 'w').write('done')"
    )
    return f"[{sys.executable!r}, '-c', {code!r}]"
