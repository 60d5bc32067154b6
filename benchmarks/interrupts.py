"""How soon an interrupt of the embedded kernel is seen at its client, by what it interrupts.
`python -m benchmarks.interrupts`

Milliseconds from `client.interrupt()` to the cell's `Done`.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path

import uvloop

from mpkernel import HostPool, PythonClient
from mpkernel.kernel.messages import Console, Done, InputRequest, Status

WAITS = {
    "busy loop": "while True: pass",
    "generator": "def forever():\n    while True: yield\nfor _ in forever(): pass",
    "time.sleep": "import time; time.sleep(60)",
    "queue.Queue.get": "import queue; queue.Queue().get()",
    "Event.wait": "import threading; threading.Event().wait()",
    "Future.result": "import concurrent.futures as f; f.Future().result()",
    "input": "input()",
    "top-level await": "import asyncio; await asyncio.sleep(60)",
    "printing": "while True: print('x' * 1000)",
}


async def next_of(client: PythonClient, kind: type) -> None:
    """Wait for a message of this kind."""
    while not isinstance(await client.next(), kind):
        pass


async def interrupt(client: PythonClient, code: str) -> float:
    """Run code, interrupt it; milliseconds until it has ended."""
    client.execute(f"print('begun')\n{code}", cell="cell")
    await next_of(client, InputRequest if code == "input()" else Console)
    await asyncio.sleep(0.05)  # until it is inside its wait
    began = time.perf_counter()
    client.interrupt()
    await next_of(client, Done)
    took = time.perf_counter() - began
    await next_of(client, Status)
    return took * 1000


async def measure(repetitions: int, app: Path) -> None:
    """Print a line for each wait."""
    print(f"{'ms':>20}{'median':>10}{'max':>10}")
    async with HostPool() as pool, await PythonClient.open(pool, app) as client:
        for name, code in WAITS.items():
            took = [await interrupt(client, code) for _ in range(repetitions)]
            print(f"{name:>20}{statistics.median(took):>10.1f}{max(took):>10.1f}", flush=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=20)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        app = Path(folder, "app.py")
        app.touch()
        uvloop.run(measure(arguments.repetitions, app))


if __name__ == "__main__":
    main()
