"""Cells that await, and loops that cells start."""

from __future__ import annotations

from kernel.conftest import Client, OpenApp, of, printed

from mpkernel.kernel.messages import Console, Done, Failure, Outputs


async def test_a_cell_that_awaits_runs_on_one_loop_from_its_first_line_to_its_value(
    client: Client,
) -> None:
    messages = await client.run(
        """\
        import asyncio
        loop = asyncio.get_running_loop()
        task = asyncio.create_task(asyncio.sleep(0, "slept"))
        assert await task == "slept"
        asyncio.get_running_loop() is loop
        """
    )
    assert [f.data for outputs in of(messages, Outputs) for f in outputs.figures] == ["True"]
    messages = await client.run(
        """\
        task = asyncio.create_task(asyncio.sleep(0, "slept"))
        await task
        """
    )
    assert of(messages, Outputs)[-1].figures[0].data == "'slept'"


async def test_a_subprocess_of_asyncio_is_awaited_in_the_value(client: Client) -> None:
    messages = await client.run(
        """\
        import asyncio, subprocess
        process = await asyncio.create_subprocess_exec("echo", "out", stdout=subprocess.PIPE)
        await process.communicate()
        """
    )
    assert [done.outcome for done in of(messages, Done)] == ["ok"], messages
    assert of(messages, Outputs)[-1].figures[0].data == r"(b'out\n', None)"


async def test_what_a_cell_leaves_on_its_loop_is_cancelled_at_its_end(client: Client) -> None:
    text = await client.text(
        """\
        import asyncio
        async def forever():
            try:
                await asyncio.Event().wait()
            finally:
                print("cancelled")
        task = asyncio.create_task(forever())
        await asyncio.sleep(0)
        print("end")
        """
    )
    assert text == "end\ncancelled\n"
    assert await client.text("print(task.cancelled())") == "True\n"


async def test_asyncio_run_is_for_cells_that_do_not_await(client: Client) -> None:
    assert await client.text("import asyncio; print(asyncio.run(asyncio.sleep(0, 1)))") == "1\n"
    messages = await client.run("await asyncio.sleep(0)\nasyncio.run(asyncio.Event().wait())")
    (failure,) = of(messages, Failure)
    assert failure.error == "RuntimeError"
    assert "cannot be called from a running event loop" in failure.message
    assert await client.text("print(await asyncio.sleep(0, 2))") == "2\n"


async def test_an_exit_in_a_task_ends_the_cell(client: Client) -> None:
    messages = await client.run(
        """\
        import asyncio, sys
        async def leave():
            sys.exit(3)
        await asyncio.gather(leave(), asyncio.Event().wait())
        """
    )
    (done,) = of(messages, Done)
    assert (done.outcome, done.exit_code) == ("exit", 3)
    assert await client.text("print(await asyncio.sleep(0, 'here'))") == "here\n"


async def test_a_loop_in_a_thread_goes_on_after_its_cell(open_app: OpenApp) -> None:
    client, other = await open_app(), await open_app()
    await client.run(
        """\
        import asyncio, threading
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        """
    )
    ask = "print(asyncio.run_coroutine_threadsafe(asyncio.sleep(0, 'slept'), loop).result())"
    assert await client.text(ask) == "slept\n"
    assert await other.text("import asyncio; print(await asyncio.sleep(0, 'mine'))") == "mine\n"
    stop = "loop.call_soon_threadsafe(loop.stop); thread.join(); loop.close(); print('over')"
    assert await client.text(stop) == "over\n"


async def test_loops_of_two_sessions_run_side_by_side(open_app: OpenApp) -> None:
    """The loop of each session waits until the other one waits, too."""
    first, second = await open_app(), await open_app()
    await first.run("import builtins, threading; builtins.both = threading.Barrier(2)")
    for client in (first, second):
        client.execute("import asyncio\nprint(await asyncio.to_thread(both.wait) < 2)", cell="c")
    for client in (first, second):
        assert printed(await client.wait_idle()) == "True\n"


async def test_a_signal_handler_of_a_loop_is_refused(client: Client) -> None:
    messages = await client.run(
        """\
        import asyncio, signal
        await asyncio.sleep(0)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, print)
        """
    )
    (failure,) = of(messages, Failure)
    assert failure.error == "RuntimeError"
    assert "main thread" in failure.message


async def test_without_a_running_loop_there_is_none_to_get(client: Client) -> None:
    messages = await client.run("import asyncio; asyncio.get_event_loop()")
    assert of(messages, Failure)[0].error == "RuntimeError"


async def test_an_interrupt_reaches_code_that_keeps_its_loop_from_running(client: Client) -> None:
    client.execute(
        "import asyncio\nawait asyncio.sleep(0)\nprint('begun', flush=True)\nwhile True: pass",
        cell="busy",
    )
    await client.wait_for(Console)
    client.interrupt()
    assert (await client.wait_for(Done)).outcome == "interrupted"
    assert of(client.messages, Failure)[-1].error == "KeyboardInterrupt"


async def test_an_interrupt_cancels_what_awaits(client: Client) -> None:
    client.execute(
        """\
import asyncio
try:
    print("begun", flush=True)
    await asyncio.Event().wait()
finally:
    await asyncio.sleep(0)
    print("cleaned up")
""",
        cell="waits",
    )
    await client.wait_for(Console)
    client.interrupt()
    assert (await client.wait_for(Done)).outcome == "interrupted"
    assert printed(client.messages) == "begun\ncleaned up\n"
