"""What goes on beside a cell and after it, in real sessions: progress and threads. (`test_progress`
and `test_threads` test their rules.)"""

from __future__ import annotations

from kernel.conftest import Client, OpenApp, of, printed

from mpkernel.kernel.messages import Console, Done, Outputs, Progress


async def test_a_loop_shows_its_progress_to_the_client_of_its_session(open_app: OpenApp) -> None:
    client, other = await open_app(), await open_app()
    messages = await client.run(
        """\
        from mpkernel.kernel.progress import progress_bar
        for n in progress_bar(range(3), title="Counting", completion_title="Counted"):
            print(n)
        """,
        cell="loop",
    )
    assert [done.outcome for done in of(messages, Done)] == ["ok"]
    first, *_, last = of(messages, Progress)
    assert (first.cell, first.title, first.current, first.total) == ("loop", "Counting", 0, 3)
    assert (last.id, last.title, last.current, last.done) == (first.id, "Counted", 3, True)
    assert of(await other.run("print('here')"), Progress) == []


async def test_a_spinner_of_a_thread_ends_though_its_cell_fails(client: Client) -> None:
    messages = await client.run(
        """\
        from mpkernel.kernel.progress import spinner
        from mpkernel.kernel.threads import Thread
        def load():
            with spinner("Loading", remove_on_exit=False) as loading:
                loading.update(subtitle="from disk")
        thread = Thread(target=load)
        thread.start()
        thread.join()
        raise LookupError("on purpose")
        """,
        cell="load",
    )
    assert [done.outcome for done in of(messages, Done)] == ["error"]
    last = of(messages, Progress)[-1]
    assert (last.cell, last.title, last.subtitle) == ("load", "Loading", "from disk")
    assert (last.total, last.done) == (None, True)


async def test_a_thread_shows_and_prints_at_its_cell_after_the_cells_end(client: Client) -> None:
    await client.run(
        """\
        import threading
        from mpkernel.kernel import outputs
        from mpkernel.kernel.threads import Thread
        go_on = threading.Event()
        def work():
            go_on.wait()
            print("late")
            outputs.append("late")
        outputs.append("in time")
        Thread(target=work).start()
        """,
        cell="first",
    )
    client.execute("go_on.set()", cell="second")
    shown = await client.wait_for(Outputs, cell="first")
    assert [figure.data for figure in shown.figures] == ["'in time'", "'late'"]
    if "late\n" not in printed(client.messages):
        await client.wait_for(Console)
    assert {console.cell for console in of(client.messages, Console)} == {"first"}


WATCH = """
import builtins, threading
from mpkernel.kernel.threads import Thread, current_thread
builtins.begun, builtins.left = threading.Event(), threading.Event()
def watch(begun, left):
    begun.set()
    while not current_thread().should_exit: pass
    left.set()
Thread(target=watch, args=(begun, left)).start()
"""


async def test_a_thread_is_asked_to_exit_when_its_cell_runs_again(client: Client) -> None:
    await client.run(WATCH, cell="watch")
    assert (
        await client.text("before = left; print(begun.wait(20), left.is_set())") == "True False\n"
    )
    await client.run("again = 1", cell="watch")
    assert await client.text("print(before.wait(20))") == "True\n"


async def test_a_thread_is_asked_to_exit_when_its_session_closes(open_app: OpenApp) -> None:
    client, other = await open_app(), await open_app()
    await client.run(WATCH, cell="watch")
    assert await other.text("print(begun.wait(20), left.is_set())") == "True False\n"
    await client.close()
    assert await other.text("print(left.wait(20))") == "True\n"
