"""From the SIGKILL of an app's process until its last session shows its value again.

Sessions of the embedded kernel, each at a value of its own. The peers bring nothing back.
"""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
import time
from pathlib import Path

from mpkernel import HostPool, PythonClient
from mpkernel.kernel.messages import Console

from ..contenders import Figures
from ..measure import Measure, Target
from ..peers import Peer
from ..peers.ours import MPKernel
from ..suite import Run

_STANDBY = "mpkernel, standby"
_TARGETS_MS = {10: 100.0, 100: 350.0}
_APP = "n = 0\n# %%\nprint(f'value {n}.')\n"


def run(run: Run) -> list[Measure]:
    measures = {}
    counts = run.choose(full=(1, 10, 100), quick=(1, 10))
    for sessions in counts:
        name = f"{sessions} session{'s' if sessions > 1 else ''}"
        target_ms = _TARGETS_MS.get(sessions)
        targets = [] if target_ms is None else [Target(target_ms), Target(target_ms, who=_STANDBY)]
        measures[name] = Measure(name, "ms", targets=targets)
    with run.contenders("mpkernel", _STANDBY) as contenders:
        for sessions, name in zip(counts, measures, strict=True):
            run.alternate(contenders, measures, killed, name, sessions)
    return list(measures.values())


async def killed(peer: Peer, name: str, sessions: int) -> Figures:
    """Milliseconds from the kill until all sessions have run again."""
    assert isinstance(peer, MPKernel)
    with tempfile.TemporaryDirectory() as folder:
        app = Path(folder, "app.py")
        app.write_text(_APP)
        clients = [await _opened(peer.pool, app, number + 1) for number in range(sessions)]
        (host,) = peer.pool.hosts
        if peer.pool.settings.standby:
            await peer.pool.standby.wait_ready()
        began = time.perf_counter()
        os.kill(host.pid, signal.SIGKILL)
        await asyncio.gather(*(_shows(client, number + 1) for number, client in enumerate(clients)))
        took_s = time.perf_counter() - began
        await asyncio.gather(*(client.close() for client in clients))
    return {name: 1e3 * took_s}


async def _opened(pool: HostPool, app: Path, value: int) -> PythonClient:
    client = await PythonClient.open(pool, app)
    client.run_app()
    client.set_values({"n": value})
    await _shows(client, value)
    return client


async def _shows(client: PythonClient, value: int) -> None:
    shown = ""
    while f"value {value}." not in shown:
        message = await client.next()
        if isinstance(message, Console):
            shown += message.text
