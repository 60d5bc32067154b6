"""`mpkernel exec` in a terminal: signals, input, progress, and what it says to a person."""

from __future__ import annotations

import os
import signal

import psutil
from cli.executing import EXEC, Write, execute
from cli.terminals import Terminal


def test_an_exit_past_the_interpreter_is_told_to_a_person_only(write: Write) -> None:
    app = write("import os\nos._exit(3)")
    assert (execute(app).returncode, execute(app).stderr) == (3, "")
    with Terminal([*EXEC, app], app.parent) as terminal:
        assert terminal.end() == 3
        assert "left with exit code 3 by itself" in terminal.shown
        assert "os._exit" in terminal.shown


def test_an_ordinary_exit_code_is_not_worth_a_word(write: Write) -> None:
    app = write("import sys\nsys.exit(7)")
    with Terminal([*EXEC, app], app.parent) as terminal:
        assert terminal.end() == 7
        assert terminal.shown == ""


def test_ctrl_c_is_a_signal_on_the_main_thread(write: Write) -> None:
    app = write(
        """
        import os, signal, threading
        def seen(number, frame):  # it may interrupt `print`, so it does not print
            name = threading.current_thread().name
            os.write(1, f"{signal.Signals(number).name} {name}".encode())
            raise SystemExit(4)
        signal.signal(signal.SIGINT, seen)
        print("ready", flush=True)
        signal.pause()
        """
    )
    with Terminal([*EXEC, app], app.parent) as terminal:
        terminal.wait_for("ready")
        terminal.type("\x03")
        assert terminal.end() == 4
        assert "SIGINT MainThread" in terminal.shown


def test_ctrl_c_that_nobody_catches_ends_the_command_by_the_signal_after_atexit(
    write: Write,
) -> None:
    app = write(
        """
        import atexit, time
        atexit.register(print, "at exit")
        print("ready", flush=True)
        time.sleep(60)
        """
    )
    with Terminal([*EXEC, app], app.parent) as terminal:
        terminal.wait_for("ready")
        terminal.type("\x03")
        assert terminal.end() == -signal.SIGINT
        assert terminal.shown.endswith("KeyboardInterrupt\nat exit\n")
        assert "mpkernel" not in terminal.shown.partition("ready")[2]


def test_ctrl_c_reaches_what_the_app_started_too(write: Write) -> None:
    app = write(
        """
        import subprocess, sys
        code = "import signal; print('child', flush=True); signal.pause()"
        try:
            subprocess.run([sys.executable, "-c", code])
        except KeyboardInterrupt:
            print("both")
        """
    )
    with Terminal([*EXEC, app], app.parent) as terminal:
        terminal.wait_for("child")
        terminal.type("\x03")
        assert terminal.end() == 0
        assert terminal.shown.endswith("both\n")


def test_input_and_passwords_come_from_the_terminal(write: Write) -> None:
    app = write(
        """
        import getpass
        name = input("name? ")
        secret = getpass.getpass("secret? ")
        print(f"<{name}|{secret}>")
        """
    )
    with Terminal([*EXEC, app], app.parent) as terminal:
        terminal.wait_for("name? ")
        terminal.type("Ada\n")
        terminal.wait_for("secret? ")
        terminal.type("open sesame\n")
        assert terminal.end() == 0
        assert "<Ada|open sesame>" in terminal.shown
        assert terminal.shown.count("open sesame") == 1  # typing it did not show it


def test_pdb_works_in_the_terminal(write: Write) -> None:
    app = write("seven = 7\nbreakpoint()\nprint('on')\n")
    with Terminal([*EXEC, app], app.parent) as terminal:
        terminal.wait_for("(Pdb) ")
        terminal.type("seven * 6\n")
        terminal.wait_for("42")
        terminal.type("c\n")
        assert terminal.end() == 0
        assert terminal.shown.endswith("on\n")


def test_progress_is_drawn_in_the_terminal(write: Write) -> None:
    app = write(
        """
        from mpkernel.kernel.progress import progress_bar
        for _ in progress_bar(range(5), title="counting"):
            pass
        """
    )
    with Terminal([*EXEC, app], app.parent) as terminal:
        assert terminal.end() == 0
        assert "counting  [########################] 5/5" in terminal.shown


def test_a_stopped_app_is_continued_with_its_command(write: Write) -> None:
    app = write(
        """
        import os
        print(os.getpid(), flush=True)
        print(input())
        """
    )
    with Terminal([*EXEC, app], app.parent) as terminal:
        terminal.wait_for("\n")
        running = psutil.Process(int(terminal.shown))
        assert os.getpgid(running.pid) == os.getpgid(terminal.process.pid)
        os.killpg(os.getpgid(running.pid), signal.SIGSTOP)
        os.killpg(os.getpgid(running.pid), signal.SIGCONT)
        terminal.type("on\n")
        assert terminal.end() == 0
        assert terminal.shown.endswith("on\non\n")
