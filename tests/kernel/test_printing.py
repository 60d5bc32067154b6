"""`print` in a session: the same as Python's own, and each line in one piece."""

from __future__ import annotations

import re

import pytest
from kernel.conftest import Client, of, printed

from mpkernel.kernel.messages import Failure


async def test_a_line_is_not_torn_by_what_prints_while_it_is_made(client: Client) -> None:
    text = await client.text(
        """\
        import gc, sys

        class Cycle:
            def __init__(self):
                self.me = self
            def __del__(self):
                print("collected")

        class Collecting:
            def __str__(self):
                Cycle()
                gc.collect()
                return "between"

        print("before", Collecting(), "behind")
        print("before", Collecting(), "behind", file=sys.stdout)
        """
    )
    assert text == "collected\nbefore between behind\n" * 2


async def test_a_value_that_cannot_be_printed_leaves_those_before_it(client: Client) -> None:
    messages = await client.run(
        """\
        class Broken:
            def __str__(self):
                raise LookupError("on purpose")

        print("before", Broken(), "behind")
        """
    )
    assert printed(messages) == "before "
    (failure,) = of(messages, Failure)
    assert (failure.error, failure.message) == ("LookupError", "on purpose")
    frames = re.findall(r'File "(.*)", line (\d+), in (.*)', failure.traceback)
    assert frames == [("<cell cell>", "5", "<module>"), ("<cell cell>", "3", "__str__")]


async def test_print_has_the_arguments_and_the_errors_of_pythons_own(client: Client) -> None:
    with pytest.raises(TypeError) as unknown:
        print(other=1)  # type: ignore[call-overload]
    messages = await client.run(
        """\
        import inspect, io, pickle, sys
        print(1, None, "x", sep="-", end="!\\n", flush=True)
        print(sep=None, end=None)
        print(*"ab", file=sys.stderr)
        file = io.StringIO()
        print("elsewhere", file=file)
        print(repr(file.getvalue()), pickle.loads(pickle.dumps(print)) is print)
        for arguments in ({"sep": 1}, {"end": 1}, {"file": 1}, {"other": 1}):
            try:
                print("nothing", **arguments)
            except (AttributeError, TypeError) as error:
                print(error)
        """
    )
    assert printed(messages) == (
        "1-None-x!\n"
        "\n"
        "'elsewhere\\n' True\n"
        "sep must be None or a string, not int\n"
        "end must be None or a string, not int\n"
        "'int' object has no attribute 'write'\n"
        f"{unknown.value}\n"
    )
    assert printed(messages, "stderr") == "a b\n"
