"""`print` in a session: the same as Python's own, and each line in one piece."""

from __future__ import annotations

import re

import pytest
from kernel.conftest import Client, OpenApp, of, printed, until_ended

from mpkernel.kernel.messages import Console, Failure


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


async def test_reconfigured_streams_print_what_utf_8_cannot_express(client: Client) -> None:
    text = await client.text(
        """\
        import sys
        for errors in ("replace", "backslashreplace", "ignore", "namereplace"):
            sys.stdout.reconfigure(errors=errors)
            print(sys.stdout.errors, "a\\ud800b", "é")
            sys.stdout.write("a\\ud800b\\n")
        for errors in ("surrogateescape", "surrogatepass"):
            sys.stdout.reconfigure(errors=errors)
            print(errors)
            print("\\udc80" if errors == "surrogateescape" else "\\ud800")
        """
    )
    assert text == (
        "replace a?b é\na?b\n"
        "backslashreplace a\\ud800b é\na\\ud800b\n"
        "ignore ab é\nab\n"
        "namereplace a\\ud800b é\na\\ud800b\n"
        "surrogateescape\n\ufffd\n"
        "surrogatepass\n\ufffd\ufffd\ufffd\n"
    )
    messages = await client.run("sys.stdout.reconfigure(errors='strict')\nprint('\\ud800')")
    assert of(messages, Failure)[0].error == "UnicodeEncodeError"


async def test_text_files_can_be_put_around_the_binary_file(client: Client) -> None:
    text = await client.text(
        """\
        import codecs, io, sys
        before = sys.stdout
        for binary in (sys.stdout.detach(), sys.stdout.buffer):
            sys.stdout = codecs.getwriter("utf-8")(binary)
            print("é")
            sys.stdout = io.TextIOWrapper(binary, encoding="utf-8", line_buffering=True)
            print("é")
            sys.stdout = before
            print("è")
        """
    )
    assert text == "é\né\nè\n" * 2


async def test_a_handler_of_logging_shows_each_client_what_its_own_code_logs(
    open_app: OpenApp,
) -> None:
    """The process has one root logger. Its handler has the file of the session that made it."""
    first, second = await open_app(), await open_app()
    configure = (
        "import logging, sys\n"
        "logging.basicConfig(format='%(message)s', level=logging.INFO, stream=sys.stdout)\n"
    )
    assert await first.text(f"{configure}logging.info('of the first')") == "of the first\n"
    assert await second.text(f"{configure}logging.info('of the second')") == "of the second\n"
    in_thread = "threading.Thread(target=logging.info, args=('in a thread',))"
    text = await second.text(
        f"import threading\nthread = {in_thread}\nthread.start()\nthread.join()"
    )
    assert text == "in a thread\n"
    await first.close()
    await until_ended(second)
    assert await second.text("logging.info('alone')") == "alone\n"
    assert not [m for m in of(first.messages, Console) if "of the first" not in m.text]
