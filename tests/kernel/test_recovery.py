"""A session of the embedded kernel when its app's process dies: it is restored as it was."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
from halves import host_of
from kernel.conftest import Client, OpenApp, of

from mpkernel import HostPool, Settings
from mpkernel.errors import AppUnavailable, HostDied, ProtocolError
from mpkernel.kernel.messages import Console, Failure, Message, Restarted, Status

APP = """\
import ctypes, os, signal
from mpkernel.kernel.threads import Thread
n = 1
# %%
def flood():
    while True:
        print("flood " * 500)
if n == 96:
    Thread(target=flood).start()
if n == 99:
    ctypes.string_at(0)
if n == 98:
    os._exit(3)
if n == 97:
    os.abort()
print(f"n is {n}")
"""


async def at(client: Client, text: str) -> list[Message]:
    """All messages until this was printed."""
    client.messages.clear()
    while True:
        console = await client.wait_for(Console)
        if text in console.text:
            await client.wait_for(Status, state="idle")
            return list(client.messages)


async def opened(open_app: OpenApp, count: int) -> list[Client]:
    """Sessions that ran the app, each with a value of its own."""
    clients = [await open_app(APP) for _ in range(count)]
    for number, client in enumerate(clients):
        client.run_app()
        client.set_values({"n": 10 + number})
        await at(client, f"n is {10 + number}")
    return clients


async def restarted(client: Client, value: int) -> Restarted:
    """Wait until the client was told and has its value again; gives what it was told."""
    messages = await at(client, f"n is {value}")
    told = of(messages, Restarted)
    assert len(told) == 1
    return told[0]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
async def test_every_session_has_its_values_again(open_app: OpenApp, number: int) -> None:
    clients = await opened(open_app, 5)
    pid = clients[0].session.pid
    os.kill(pid, number)
    for position, client in enumerate(clients):
        told = await restarted(client, 10 + position)
        assert signal.Signals(number).name in told.reason
        assert not told.guilty
        assert told.lost == []
        assert client.session.pid != pid
    assert (await clients[0].text("print(n * 2)")) == "20\n"


@pytest.mark.parametrize(
    ("value", "reason"), [(99, "SIGSEGV"), (98, "exit code 3"), (97, "SIGABRT")]
)
async def test_who_ended_the_process_comes_back_at_its_last_good_value(
    open_app: OpenApp, value: int, reason: str
) -> None:
    guilty, *others = await opened(open_app, 3)
    guilty.set_values({"n": value})
    told = await restarted(guilty, 10)
    assert told.guilty
    assert reason in told.reason
    for position, client in enumerate(others):
        told = await restarted(client, 11 + position)
        assert not told.guilty


async def test_who_ended_the_process_is_known_while_another_session_floods(
    open_app: OpenApp,
) -> None:
    guilty, other = await opened(open_app, 2)
    other.set_values({"n": 96})
    await at(other, "n is 96")
    while "flood" not in (await other.wait_for(Console)).text:
        continue  # it prints by a thread: the session itself has nothing to do

    async def read() -> None:
        while True:
            await other.next()

    reading = asyncio.create_task(read())
    try:
        guilty.set_values({"n": 98})
        assert (await restarted(guilty, 10)).guilty
    finally:
        reading.cancel()


async def test_the_third_time_only_the_guilty_session_is_closed(open_app: OpenApp) -> None:
    guilty, other = await opened(open_app, 2)
    for _ in range(2):
        guilty.set_values({"n": 99})
        assert (await restarted(guilty, 10)).guilty
        await restarted(other, 11)
    guilty.set_values({"n": 99})
    with pytest.raises(HostDied, match="this session again"):
        await at(guilty, "never")
    await restarted(other, 11)
    assert await other.text("print(n)") == "11\n"


async def test_what_is_sent_between_two_processes_is_not_lost(open_app: OpenApp) -> None:
    (client,) = await opened(open_app, 1)
    os.kill(client.session.pid, signal.SIGKILL)
    while client.session.pid is not None:
        await asyncio.sleep(0)
    client.set_values({"n": 20})
    client.execute("print('executed', n)", cell="scratch")
    assert of(await at(client, "executed 20"), Restarted)


async def test_code_that_was_executed_is_not_run_again_and_that_is_told(
    open_app: OpenApp, tmp_path: Path
) -> None:
    (client,) = await opened(open_app, 1)
    await client.run(f"open({str(tmp_path / 'done')!r}, 'a').write('x'); extra = 1")
    os.kill(client.session.pid, signal.SIGKILL)
    told = await restarted(client, 10)
    assert told.lost == ["what was done by code that was executed outside the app's cells"]
    assert (tmp_path / "done").read_text() == "x"
    assert of(await client.run("extra"), Failure)[0].error == "NameError"


async def test_a_value_that_is_too_large_to_keep_is_told(tmp_path: Path) -> None:
    app = tmp_path / "app.py"
    app.write_text(APP)
    async with HostPool(Settings(journal_bytes=1000)) as pool:
        client = await Client.open(pool, app)
        client.run_app()
        client.set_values({"n": 5, "large": "x" * 2000})
        await at(client, "n is 5")
        os.kill(client.session.pid, signal.SIGKILL)
        told = await restarted(client, 5)
        assert told.lost == ["the value of large, which is too large"]
        await client.close()


async def test_another_app_does_not_notice(open_app: OpenApp) -> None:
    (client,) = await opened(open_app, 1)
    other = await open_app("other = 1", name="other.py")
    pid = other.session.pid
    os.kill(client.session.pid, signal.SIGKILL)
    await restarted(client, 10)
    messages = await other.run("other")
    assert not of(messages, Restarted)
    assert other.session.pid == pid


async def test_a_restart_has_a_changed_module_imported_anew(
    pool: HostPool, open_app: OpenApp, tmp_path: Path
) -> None:
    module = tmp_path / "rates.py"
    module.write_text("rate = 1\n")
    client = await open_app("import rates\nprint(f'rate {rates.rate}')")
    client.run_app()
    await at(client, "rate 1")
    module.write_text("rate = 'another'\n")
    client.run_app()
    await at(client, "rate 1")
    pool.apps[0].restart()
    await at(client, "rate another")


async def test_a_session_that_is_closed_between_two_processes_stays_closed(
    open_app: OpenApp,
) -> None:
    closing, other = await opened(open_app, 2)
    os.kill(other.session.pid, signal.SIGKILL)
    while closing.session.pid is not None:
        await asyncio.sleep(0)
    await closing.close()
    await restarted(other, 11)
    assert host_of(other.session).session_count == 1


async def test_an_app_that_dies_at_its_start_is_given_up_and_everybody_is_told(
    tmp_path: Path,
) -> None:
    app = tmp_path / "app.py"
    app.write_text(f"open({str(tmp_path / 'starts')!r}, 'a').write('x')\nimport os\nos.abort()\n")
    async with HostPool(Settings(restart_backoff_s=0.01)) as pool:
        with pytest.raises(AppUnavailable, match=r"again and again.*SIGABRT"):
            for _ in range(20):
                client = await Client.open(pool, app)
                client.run_app()
                told = await client.wait_for(Restarted)
                assert told.guilty
                assert "SIGABRT" in told.reason
                await client.close()
    assert len((tmp_path / "starts").read_text()) <= 6


async def test_values_come_back_as_they_were_sent_though_the_caller_changes_them(
    client: Client,
) -> None:
    rows = [1]
    values: dict[str, object] = {"rows": rows}
    client.set_values(values)
    await client.wait_idle()
    rows.append(2)
    values["rows"] = object()
    pid = client.session.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert (await client.wait_for(Restarted)).lost == []
    client.execute("print(rows)", cell="cell")
    await at(client, "[1]\n")


async def test_values_that_no_kernel_can_read_are_refused(client: Client) -> None:
    nested: list[object] = []
    for _ in range(5000):
        nested = [nested]
    with pytest.raises((ProtocolError, RecursionError)):
        client.set_values({"nested": nested})
    assert await client.text("print('alive')") == "alive\n"
