"""Forked children have plain descriptors, no proxies, and no lock that a missing thread holds."""

from __future__ import annotations

from host.consoles import (
    run_script,
)

FORKING = """
    import io, logging, multiprocessing, os, select, sys, threading
    from mpkernel.host import console

    def status(pid):
        if not select.select([os.pidfd_open(pid)], [], [], 40)[0]:
            os.kill(pid, 9)
        return os.waitpid(pid, 0)[1]

    class Session(io.StringIO):
        def write(self, text):
            assert os.getpid() == home, "a forked child wrote to a session"
            return super().write(text)

    home = os.getpid()
    console.install()
    os.register_at_fork(after_in_child=console.plain_streams)
    proxies = sys.stdout, sys.stderr
    for proxy in proxies:
        proxy.set_stream(Session())
"""


def test_a_forked_child_prints_to_plain_descriptors_and_its_parent_goes_on(tmp_path):
    done = run_script(
        tmp_path,
        FORKING
        + """
    handler = logging.StreamHandler(sys.stderr)
    start_name = "_start_joinable_thread" if sys.version_info >= (3, 13) else "_start_new_thread"
    start = getattr(threading, start_name)

    def child():
        print("child")
        print("child's error", file=sys.stderr)
        sys.__stdout__.write("dunder\\n")
        handler.emit(logging.makeLogRecord({"msg": "logged"}))
        proxies[0].write("")
        thread = threading.Thread(target=print, args=("thread",))
        thread.start()
        thread.join()
        assert not console.installed()
        assert getattr(threading, start_name) is not start
        console.install()
        console.uninstall()

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(30)
    assert process.exitcode == 0, proxies[1].current().getvalue()
    assert console.installed() and sys.stdout is proxies[0]
    assert getattr(threading, start_name) is start
    print("parent")
    assert proxies[0].current().getvalue() == "parent\\n"
    """,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "child\ndunder\nthread\n"
    assert done.stderr == "child's error\nlogged\n"


def test_all_of_twenty_forked_children_print_and_end_while_other_threads_write(tmp_path):
    done = run_script(
        tmp_path,
        FORKING
        + """
    sys.setswitchinterval(1e-4)
    stop = threading.Event()
    never_read, full = os.pipe()
    stuck = open(full, "w", encoding="utf-8")

    def chatter(write):
        while not stop.is_set():
            write("x" * 100)

    class Forgetful(Session):
        def write(self, text):
            self.seek(0)
            return super().write(text)

    def sessions_own():
        for proxy in proxies:
            proxy.set_stream(Forgetful())
        chatter(sys.stdout.write)

    # Holds the lock of a file that is the process's stdout at the fork, for ever.
    sys.__stdout__ = stuck
    threading.Thread(target=chatter, args=(stuck.write,), daemon=True).start()
    writers = [threading.Thread(target=t) for t in (sessions_own, sessions_own)]
    for writer in writers:
        writer.start()
    while select.select([], [full], [], 0)[1]:
        pass
    del stuck
    ended = 0
    for number in range(20):
        pid = os.fork()
        if pid == 0:
            print("child", number, flush=True)
            thread = threading.Thread(target=print, args=("thread", number))
            thread.start()
            thread.join()
            sys.stdout.flush()
            os._exit(0)
        ended += status(pid) == 0
    stop.set()
    for writer in writers:
        writer.join()
    os.write(2, f"{ended} ended".encode())
    os._exit(0)
    """,
    )
    assert done.stderr == "20 ended", done.stderr
    assert sorted(done.stdout.split("\n")) == sorted(
        [f"{what} {n}" for what in ("child", "thread") for n in range(20)] + [""]
    )


def test_a_forked_child_with_closed_descriptors_prints_nowhere_and_lives(tmp_path):
    done = run_script(
        tmp_path,
        FORKING
        + """
    report, answer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.closerange(1, 3)
        console.plain_streams()
        print("nowhere", flush=True)
        print("nowhere", file=sys.stderr)
        proxies[0].write("nowhere")
        os.write(answer, b"alive")
        os._exit(0)
    assert status(pid) == 0
    os.write(1, os.read(report, 100))
    """,
    )
    assert done.stdout == "alive", done.stderr


def test_a_child_forked_while_another_thread_installs_waits_for_no_lock(tmp_path):
    done = run_script(
        tmp_path,
        FORKING
        + """
    console.uninstall()
    inside, go_on = threading.Event(), threading.Event()

    def slow_proxy(original, name):
        inside.set()
        go_on.wait()
        return console.ConsoleProxy(original, name)

    installer = threading.Thread(target=console.install, args=(slow_proxy,))
    installer.start()
    inside.wait()
    pid = os.fork()
    if pid == 0:
        console.install()
        print("child", flush=True)
        os._exit(0)
    left = status(pid)
    go_on.set()
    installer.join()
    assert left == 0, left
    """,
    )
    assert (done.stdout, done.stderr) == ("child\n", "")


def test_what_the_parent_had_not_flushed_is_not_written_by_its_child(tmp_path):
    done = run_script(
        tmp_path,
        FORKING
        + """
    proxies[0].clear_stream()
    print("parent")
    pid = os.fork()
    if pid == 0:
        print("child", flush=True)
        os._exit(0)
    assert status(pid) == 0
    """,
    )
    assert (done.stdout, done.stderr) == ("child\nparent\n", "")


def test_a_sessions_stream_is_not_even_collected_in_a_forked_child(tmp_path):
    done = run_script(
        tmp_path,
        FORKING
        + """
    class Careful(io.StringIO):
        def __del__(self):
            if os.getpid() != home:
                os.write(1, b"collected")

    for proxy in proxies:
        proxy.set_stream(Careful())
    pid = os.fork()
    if pid == 0:
        import gc
        gc.collect()
        os._exit(0)
    assert status(pid) == 0
    """,
    )
    assert (done.stdout, done.stderr) == ("", "")
