"""The source of executed code: whoever executes what later, tracebacks show the lines that ran."""

from __future__ import annotations

import linecache

from kernel.conftest import Client, OpenApp, of, printed

from mpkernel.kernel.code.sources import Sources
from mpkernel.kernel.messages import Failure

FAILING = "import inspect\ndef failing():\n    raise ValueError('mine')"


async def test_tracebacks_show_the_lines_of_ones_own_client(open_app: OpenApp) -> None:
    one, other = await open_app(), await open_app()
    await one.text(FAILING)
    await other.text("import inspect\ndef secret():\n    return 'of another client'")
    (failure,) = of(await one.run("failing()"), Failure)
    assert "    raise ValueError('mine')\n" in failure.traceback
    assert "secret" not in failure.traceback
    assert await one.text("print(inspect.getsource(failing))") == FAILING[15:] + "\n\n"
    assert "of another client" in await other.text("print(inspect.getsource(secret))")
    (failure,) = of(await other.run("1 / 0", cell="a (2)"), Failure)
    assert 'File "<cell a (2)>", line 1, in <module>\n' in failure.traceback
    (failure,) = of(await other.run("def f(): fail\nf()"), Failure)
    assert failure.traceback.count('File "<cell cell>", line ') == 2


async def test_a_function_keeps_its_lines_when_its_cell_is_executed_anew(client: Client) -> None:
    await client.text(FAILING)
    await client.text("before = failing\ndef failing():\n    return 5")
    messages = await client.run("print(inspect.getsource(failing), inspect.getsource(before))")
    assert printed(messages) == "def failing():\n    return 5\n " + FAILING[15:] + "\n\n"
    (failure,) = of(await client.run("1\nbefore()"), Failure)
    shown = failure.traceback.splitlines()
    assert "    before()" in shown
    assert "    raise ValueError('mine')" in shown


def test_a_name_is_given_again_when_its_code_is_gone() -> None:
    sources, others = Sources(), Sources()
    first = sources.add("c", "def f(): pass")
    code = compile("def f(): pass", first, "exec")
    sources.compiled(first, [code])
    assert first == "<cell c>"
    assert others.add("c", "2") == "<cell c (2)>"
    assert sources.add("c", "3") == "<cell c (3)>"
    inner = code.co_consts[0]
    del code
    assert sources.add("c", "4") == "<cell c (3)>"
    del inner
    assert sources.add("c", "5") == "<cell c>"
    assert linecache.getline("<cell c>", 1) == "5\n"
    others.close()
    sources.close()
    assert not [name for name in linecache.cache if name.startswith("<cell c")]


def test_only_ends_of_lines_end_lines() -> None:
    sources = Sources()
    name = sources.add("lines", "a\r\n'\u2028'\x0c\rb\x1c\n")
    assert linecache.getlines(name) == ["a\n", "'\u2028'\x0c\n", "b\x1c\n", "\n"]
    sources.close()


def test_sources_whose_code_is_gone_are_bounded() -> None:
    sources = Sources()
    kept = compile("5", sources.add("kept", "5"), "eval")
    sources.compiled("<cell kept>", [kept])
    for number in range(5000):
        sources.add(f"bounded-{number}", "6")
    assert linecache.getline("<cell kept>", 1) == "5\n"
    assert len([name for name in linecache.cache if name.startswith("<cell bounded")]) <= 1001
    sources.close()
    assert linecache.getline("<cell kept>", 1) == "5\n"
    del kept
    Sources().close()
    assert not [name for name in linecache.cache if name.startswith("<cell ")]
