"""`mpkernel exec` runs an app in the foreground, as `python` does; only a crash is reported
differently."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from cli.executing import EXEC, Write, execute
from sandboxes.wheels import write_app, write_installed, write_wheel


def test_a_segfault_is_reported_with_its_place_and_ends_the_command_likewise(
    write: Write,
) -> None:
    app = write(
        """
        import ctypes
        print("before", flush=True)
        def broken():
            ctypes.string_at(0)
        broken()
        """
    )
    ended = execute(app)
    assert ended.returncode == -signal.SIGSEGV
    assert ended.stdout == "before\n"
    first, *rest = ended.stderr.splitlines()
    assert first == f"mpkernel: {app} was killed by SIGSEGV"
    assert f'  File "{app}", line 5 in broken' in rest
    assert "mpkernel/kernel" not in ended.stderr


def test_who_is_killed_is_told_how_large_it_was(write: Write) -> None:
    app = write("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    ended = execute(app)
    assert ended.returncode == -signal.SIGKILL
    assert "was killed by SIGKILL" in ended.stderr
    assert "MiB" in ended.stderr


@pytest.mark.parametrize("code", [0, 3])
def test_it_ends_with_its_app_where_its_starter_ignores_the_ends_of_children(
    write: Write, code: int
) -> None:
    app = write(f"import sys\nprint('here')\nsys.exit({code})")
    ended = subprocess.run(
        ["sh", "-c", 'trap "" CHLD && exec "$@"', "sh", *EXEC, app],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (code, "here\n", "")


def test_memory_that_cannot_be_had_is_an_exception_as_in_python(write: Write) -> None:
    app = write(
        """
        import resource
        resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
        bytearray(1 << 31)
        """
    )
    ended = execute(app)
    assert ended.returncode == 1
    assert ended.stderr.endswith("MemoryError\n")


def test_a_segfault_in_a_fork_is_for_the_app_to_know(write: Write) -> None:
    app = write(
        """
        import ctypes, os
        pid = os.fork()
        if pid == 0:
            ctypes.string_at(0)
        print(-os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        """
    )
    ended = execute(app)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, f"{int(signal.SIGSEGV)}\n", "")


def test_what_an_app_shows_is_printed_as_text(write: Write) -> None:
    app = write(
        """
        from mpkernel.kernel import outputs
        from mpkernel.kernel.threads import Thread
        outputs.append({"shown": 1})
        thread = Thread(target=outputs.append, args=("by a thread",))
        thread.start()
        thread.join()
        outputs.clear()
        outputs.replace(3)
        """
    )
    ended = execute(app)
    assert (ended.stdout, ended.stderr) == ("{'shown': 1}\nby a thread\n3\n", "")


def test_a_signal_to_the_command_alone_is_handed_on(write: Write) -> None:
    app = write(
        """
        import signal, sys
        def leave(number, frame):
            print("leaving")
            sys.exit(9)
        signal.signal(signal.SIGTERM, leave)
        print("ready", flush=True)
        signal.pause()
        """
    )
    with subprocess.Popen([*EXEC, app], stdout=subprocess.PIPE, text=True) as command:
        assert command.stdout is not None
        assert command.stdout.readline() == "ready\n"
        command.terminate()
        assert command.stdout.read() == "leaving\n"
        assert command.wait() == 9


def test_a_killed_command_takes_its_app_along(write: Write) -> None:
    app = write("import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(60)")
    with subprocess.Popen([*EXEC, app], stdout=subprocess.PIPE, text=True) as command:
        assert command.stdout is not None
        running = psutil.Process(int(command.stdout.readline()))
        command.kill()
        psutil.wait_procs([running], timeout=30)
        assert not running.is_running() or running.status() == psutil.STATUS_ZOMBIE


def test_top_level_await_works_cell_by_cell(write: Write) -> None:
    app = write(
        """
        import asyncio
        value = await asyncio.sleep(0, 5)
        # %%
        print(value, asyncio.run(asyncio.sleep(0, 6)))
        # %%
        await asyncio.sleep(0)
        async def fail():
            raise LookupError("awaited")
        await fail()
        """
    )
    ended = execute(app)
    assert ended.stdout == "5 6\n"
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[:3] == [
        "Traceback (most recent call last):",
        f'  File "{app}", line 10, in <module>',
        "    await fail()",
    ]


@pytest.mark.parametrize("code", [b'print("\xe9")', b'a = 1\nb = 2\nc = 3\nprint("\xe9")'])
def test_an_app_that_is_not_utf_8_is_named_with_the_remedy(tmp_path: Path, code: bytes) -> None:
    app = tmp_path / "app.py"
    app.write_bytes(code)
    ended = execute(app)
    assert ended.returncode == 1
    last = ended.stderr.splitlines()[-1]
    assert last.startswith(f"SyntaxError: {app} cannot be decoded: ")
    assert "save it as UTF-8, or name its encoding" in last
    assert "decode_source" not in ended.stderr
    app.write_bytes(b"# -*- coding: latin-1 -*-\n" + code)
    assert execute(app).stdout == "\u00e9\n"


def test_nothing_runs_of_an_app_that_is_no_python(write: Write) -> None:
    ended = execute(write("print('never')\n# %%\nx = = 1\n"))
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "line 3" in ended.stderr
    assert "SyntaxError" in ended.stderr


def test_an_app_has_its_standard_descriptors_and_passes_no_other_on(write: Write) -> None:
    app = write(
        """
        import os
        print([fd for fd in range(3, 256) if os.path.exists(f"/proc/self/fd/{fd}")
               and os.get_inheritable(fd)])
        """
    )
    assert execute(app).stdout == "[]\n"


def test_an_app_that_closes_all_descriptors_finds_nothing_of_ours_in_its_own_files(
    write: Write, tmp_path: Path
) -> None:
    app = write(
        f"""
        import os
        os.closerange(3, 256)
        kept = [open(f"{tmp_path}/{{number}}.txt", "w") for number in range(20)]
        """
    )
    ended = execute(app)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert {file.read_bytes() for file in tmp_path.glob("*.txt")} == {b""}


def test_an_app_that_closes_all_descriptors_ends_without_a_word_of_ours(write: Write) -> None:
    ended = execute(write("import os\nos.closerange(3, 256)"))
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_files_of_the_current_folder_do_not_stand_in_for_the_library(
    write: Write, tmp_path: Path
) -> None:
    write("raise SystemExit('the wrong queue')", "queue.py")
    inner = tmp_path / "inner"
    inner.mkdir()
    app = inner / "app.py"
    app.write_text("import queue, sys\nprint(queue.Queue().qsize(), sys.path[0])\n")
    ended = subprocess.run(
        [sys.executable, "-P", "-m", "mpkernel", "exec", app],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert (ended.stdout, ended.stderr) == (f"0 {inner}\n", "")


def test_an_app_that_is_not_there_is_named() -> None:
    refused = execute("nowhere/app.py")
    assert refused.returncode == 1
    assert refused.stderr == "mpkernel: there is no app nowhere/app.py (check the path)\n"


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("--sandbx", "there is no option --sandbx: did you mean --sandbox?"),
        ("--confine", "--confine lacks its value"),
    ],
)
def test_a_wrong_option_is_named(option: str, says: str) -> None:
    refused = execute(option)
    assert refused.returncode == 1
    assert says in refused.stderr


def test_a_folder_is_said_to_be_no_app(tmp_path: Path) -> None:
    refused = execute(tmp_path)
    assert refused.returncode == 1
    assert f"{tmp_path} is a folder, and an app is a file" in refused.stderr


def test_no_app_is_a_usage_error() -> None:
    refused = subprocess.run(EXEC, capture_output=True, text=True, timeout=240, check=False)
    assert refused.returncode == 2
    assert "mpkernel exec [--python PYTHON] [--sandbox] [--confine LEVEL] APP" in refused.stderr


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The packages that uv finds: one of a single module, and those that mpkernel needs."""
    write_wheel(tmp_path / "wheels", "tiny", "1.0")
    write_installed(tmp_path / "wheels", "msgspec")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path / "wheels"))
    monkeypatch.setenv("UV_NO_INDEX", "1")


@pytest.mark.usefixtures("packages")
def test_in_a_sandbox_an_app_has_the_packages_that_it_names(tmp_path: Path) -> None:
    code = "import sys, tiny; print(tiny.VERSION, sys.prefix, sys.argv[1:], sys.stdin.read())"
    app = write_app(tmp_path / "app.py", 'dependencies = ["tiny"]', code)
    ended = execute("--sandbox", app, "--sandbox", stdin="in")
    assert ended.stdout.startswith(f"1.0 {tmp_path}/cache/")
    assert ended.stdout.endswith(" ['--sandbox'] in\n")
    assert "+ tiny==1.0" in ended.stderr
    again = execute("--sandbox", app, stdin="")
    assert again.stderr == ""


@pytest.mark.usefixtures("packages")
def test_in_a_sandbox_what_uv_says_is_the_error(tmp_path: Path, write: Write) -> None:
    app = write_app(tmp_path / "app.py", 'dependencies = ["tiny==2.0"]', "print('ran')")
    ended = execute("--sandbox", app)
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert "No solution found" in ended.stderr
    plain = execute("--sandbox", str(write("print('ran')", "plain.py")))
    assert plain.stdout == "ran\n"
