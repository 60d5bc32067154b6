"""Code that replaces the clock, or what waits, of its whole process, as tests in notebooks do."""

from __future__ import annotations

import asyncio
from pathlib import Path

from kernel.conftest import Client, of, printed
from waiting import PATIENCE_S

from mpkernel.kernel.messages import Done

# As freezegun does: but for some modules of the library, each variable that holds the function.
FREEZE = """
import sys, threading, time

plain = time.monotonic
frozen = lambda: 1000.0

def each_variable(value):
    for name, module in list(sys.modules.items()):
        if not name.startswith(("threading", "queue", "asyncio", "selectors")):
            for key, found in list(vars(module).items()):
                if found is value:
                    yield module, key

def freeze():
    for module, key in each_variable(plain):
        setattr(module, key, frozen)
"""
BREAK_SLEEP = """
import time

def refuse(seconds):
    raise RuntimeError("nothing sleeps here")

plain_sleep, time.sleep = time.sleep, refuse
"""


async def test_waits_end_though_the_clock_stands_still(client: Client) -> None:
    await client.text(FREEZE)
    async with asyncio.timeout(PATIENCE_S):
        text = await client.text(
            """
            freeze()
            time.sleep(0.2)
            print(threading.Event().wait(0.2), time.monotonic())
            """
        )
    assert text == "False 1000.0\n"


async def test_two_interrupts_far_apart_end_no_session_though_the_clock_stands_still(
    client: Client,
) -> None:
    await client.text(FREEZE + "freeze()")
    client.execute(
        """
for name in ["one", "two"]:
    try:
        print("waits for", name, flush=True)
        while True:
            pass
    except KeyboardInterrupt:
        pass
print("alive")
""",
        cell="endless",
    )
    for name in ["one", "two"]:
        await until_printed(client, f"waits for {name}\n")
        await asyncio.sleep(1.1)  # so far apart that they are two, and not one that is repeated
        client.interrupt()
    await until_printed(client, "alive\n")


async def test_text_appears_while_a_cell_runs_though_sleep_raises(
    client: Client, tmp_path: Path
) -> None:
    seen = tmp_path / "seen"
    await client.text(BREAK_SLEEP + f"import os\nseen = {str(seen)!r}")
    client.execute(
        """
for text in ["early", "late"]:
    print(text)
    while not os.path.exists(seen):
        plain_sleep(0.01)
    os.unlink(seen)
""",
        cell="waits",
    )
    for text in ["early", "late"]:
        await until_printed(client, text)
        seen.touch()
    assert (await client.wait_for(Done)).outcome == "ok"


async def until_printed(client: Client, text: str) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while text not in printed(client.messages):
            client.messages.append(await client.next())


async def test_a_cell_whose_text_is_not_read_yet_ends_in_order_though_sleep_raises(
    client: Client,
) -> None:
    messages = await client.run(
        BREAK_SLEEP + "import os\nfor _ in range(100): os.write(1, b'x' * 400)"
    )
    assert of(messages, Done)[0].outcome == "ok"
    assert (await client.text("print('alive')")).endswith("alive\n")
