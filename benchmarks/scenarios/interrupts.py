"""How soon an interrupt of the embedded kernel shows at its client, for several kinds of code.

From `client.interrupt()` to the cell's `Done`. The peers have no kernel that could be interrupted.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from pathlib import Path

from mpkernel import PythonClient
from mpkernel.kernel.messages import Console, Done, InputRequest, Status

from ..contenders import Figures
from ..measure import Measure
from ..peers import OURS, Peer
from ..peers.ours import MPKernel
from ..suite import Run

_WAITS = {
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
_SETTLE_S = 0.05  # until the code is inside its wait


def run(run: Run) -> list[Measure]:
    measures = {name: Measure(name, "ms") for name in _WAITS}
    with run.contenders(OURS) as contenders:
        run.alternate(contenders, measures, interrupted, run.choose(full=3, quick=1))
    return list(measures.values())


async def interrupted(peer: Peer, times: int) -> Figures:
    """Milliseconds, the median of so many, by what is interrupted."""
    assert isinstance(peer, MPKernel)
    with tempfile.TemporaryDirectory() as folder:
        app = Path(folder, "app.py")
        app.touch()
        async with await PythonClient.open(peer.pool, app) as client:
            return {
                name: 1e3
                * statistics.median([await _interrupt(client, code) for _ in range(times)])
                for name, code in _WAITS.items()
            }


async def _interrupt(client: PythonClient, code: str) -> float:
    client.execute(f"print('begun')\n{code}", cell="cell")
    await _next_of(client, InputRequest if code == "input()" else Console)
    await asyncio.sleep(_SETTLE_S)
    began = time.perf_counter()
    client.interrupt()
    await _next_of(client, Done)
    took_s = time.perf_counter() - began
    await _next_of(client, Status)
    return took_s


async def _next_of(client: PythonClient, kind: type) -> None:
    while not isinstance(await client.next(), kind):
        pass
