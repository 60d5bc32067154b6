"""A process that user code forks has nothing of its host; a fork of that one keeps what is its
own."""

from __future__ import annotations

from pathlib import Path

from kernel.conftest import Client

from mpkernel import HostPool
from mpkernel.kernel.messages import Console, Done

MANY = 64

FORK_OF_A_FORK = """
import os, signal, warnings

warnings.simplefilter("ignore")  # Python 3.12 and later warn of a fork of several threads
read, write = os.pipe()
if os.fork() == 0:
    os.dup2(write, 200)
    os.closerange(3, 200)  # as programs do that become daemons
    same = os.fstat(os.open({path!r}, os.O_RDONLY))
    opened = [os.open({path!r}, os.O_RDONLY) for _ in range({many})]
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if os.fork() == 0:
        other = []
        for fd in opened:
            try:
                if not os.path.samestat(os.fstat(fd), same):
                    other.append(fd)
            except OSError:
                other.append(fd)
        ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        os.write(200, f"{{len(opened)}} {{other}} {{ignored}}".encode())
        os._exit(0)
    os.wait()
    os._exit(0)
os.close(write)
os.wait()
print(os.read(read, 4096).decode(), flush=True)
"""


async def test_a_fork_of_a_fork_keeps_the_descriptors_and_handlers_that_the_fork_has(
    tmp_path: Path,
) -> None:
    app, path = tmp_path / "app.py", tmp_path / "file"
    app.write_text("")
    path.write_text("")
    async with HostPool() as pool:
        client = await Client.open(pool, app)
        client.execute(FORK_OF_A_FORK.format(path=str(path), many=MANY), cell="fork")
        console = await client.wait_for(Console)
        assert console.text == f"{MANY} [] True\n"
        assert (await client.wait_for(Done)).outcome == "ok"
