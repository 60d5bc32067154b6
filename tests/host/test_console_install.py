"""The proxies are installed and uninstalled, and cost a host little."""

from __future__ import annotations

import io
import sys
import threading

from host.consoles import (
    SessionStream,
    in_session,
    on_a_console,
    run_script,
    started,
)

from mpkernel.host import console


def starts() -> list[object]:
    """The functions by which `threading` starts threads."""
    names = ("_start_new_thread", "_start_joinable_thread")
    return [getattr(threading, name, None) for name in names]


@on_a_console
def test_installing_twice_is_installing_once(log):
    out, start = sys.stdout, starts()
    console.install()
    assert console.installed()
    assert sys.stdout is out
    assert starts() == start
    console.uninstall()
    assert not console.installed()
    assert sys.stdout is log
    console.uninstall()
    assert sys.stdout is log


@on_a_console
def test_uninstall_gives_back_the_true_originals_whoever_replaced_them(log):
    sys.stdout = io.StringIO()
    sys.stderr = sys.stdout
    console.uninstall()
    assert sys.stdout is log
    assert sys.stderr is not log
    assert not isinstance(sys.stderr, io.StringIO)


@on_a_console
def test_uninstall_gives_back_the_start_of_threads(log):
    console.uninstall()
    plain = starts()
    console.install()
    assert starts() != plain
    console.uninstall()
    assert starts() == plain


@on_a_console
def test_a_tracer_that_wrapped_thread_start_keeps_its_wrapper_and_threads_still_inherit(
    log, monkeypatch
):
    ours = threading.Thread.start
    traced: list[threading.Thread] = []

    def tracing(thread: threading.Thread) -> None:
        traced.append(thread)
        ours(thread)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", tracing)
        console.uninstall()
        assert threading.Thread.start is tracing
        console.install()
        stream = SessionStream()
        in_session(stream, lambda: started(threading.Thread(target=print, args=("x",))))
        console.uninstall()
    assert (stream.text, len(stream.copies), len(traced)) == ("x\n", 1, 2)


def test_a_process_without_stdout_gets_one_for_its_sessions_and_none_back(tmp_path):
    done = run_script(
        tmp_path,
        """
        import io, sys
        from mpkernel.host import console
        sys.stdout = None
        console.install()
        print("nowhere")
        stream = io.StringIO()
        sys.stdout.set_stream(stream)
        print("somewhere")
        console.uninstall()
        assert sys.stdout is None
        sys.stderr.write(stream.getvalue())
        """,
    )
    assert (done.stdout, done.stderr) == ("", "somewhere\n")


def test_the_module_costs_a_host_no_heavy_import(tmp_path):
    done = run_script(
        tmp_path,
        """
        import sys
        from mpkernel.host import console
        print(sorted({"asyncio", "psutil", "uvloop", "marimo", "logging"} & set(sys.modules)))
        """,
    )
    assert done.stdout == "[]\n", done.stderr
