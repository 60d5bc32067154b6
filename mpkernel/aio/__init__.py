"""The asyncio toolkit that the server's half stands on; it knows nothing of kernels or apps.

Who does what:

- ``loops``: the one place that makes event loops, `run`, which uses it, and `running_loop`.
- ``tasks``: a coroutine as a task that is referenced until it ends, has a name, and whose error is
  logged (`supervised_task`, `fire_and_forget`); and its end (`cancel_and_wait`).
- ``background``: `BackgroundTask`, work with a life of its own that can be stopped from the loop,
  from another thread, or after the loop has stopped.
- ``slices``: `in_slices`, a long loop that lets the event loop go round every 5 ms.
- ``patience``: `PatientTimer` and `patient_timeout`, time limits for another process that a pause
  of this one does not use up.
- ``turns``: `Turn`, how much time of the loop's present turn its many readers may still use.
- ``short_timer``: `ShortTimer`, for less than a millisecond.
- ``threads``: `off_the_loop`, work that may block, on a thread of its own.
- ``signals``, ``loop_end``: what to do when a signal asks the program to end, and before a loop is
  closed.
- ``broken_answers``: `BrokenAnswer`, which ends an ASGI answer half-way.
- ``awaited``: `to_be_awaited`, a coroutine function whose error says that `await` was forgotten.
- ``lifespans``: `Lifespans`, several async context managers around one application.
- ``distributors``: one source, many consumers: `ConnectionDistributor` reads a Pipe on the loop,
  `QueueDistributor` drains a queue on a thread. They stand on ``consumers`` (who is listening),
  ``framing`` (bytes to frames, no I/O) and ``readable`` (when there is something to read).

::

    another process            event loop                                       caller's code
    Connection.send_bytes ══▶  ReadableWatch ─▶ os.read ─▶ FrameParser ─▶ decode ─▶ consumers
    another thread             thread of its own
    queue.put ───────────────▶ queue.get ─────────────────────────────────────────▶ consumers

The idea comes from marimo's pull request 9552: tasks are not lost, errors are not swallowed, and an
object keeps the loop that it uses, instead of looking it up at each use.
"""

from mpkernel.aio.background import BackgroundTask
from mpkernel.aio.consumers import Consumer, Disposable
from mpkernel.aio.distributors import ConnectionDistributor, PipeEnd, QueueDistributor
from mpkernel.aio.framing import DEFAULT_MAX_FRAME_BYTES, FrameError, FrameParser
from mpkernel.aio.lifespans import Lifespan, Lifespans
from mpkernel.aio.loops import new_event_loop, run, running_loop
from mpkernel.aio.readable import ReadableWatch
from mpkernel.aio.slices import in_slices
from mpkernel.aio.tasks import cancel_and_wait, fire_and_forget, supervised_task

__all__ = [
    "DEFAULT_MAX_FRAME_BYTES",
    "BackgroundTask",
    "ConnectionDistributor",
    "Consumer",
    "Disposable",
    "FrameError",
    "FrameParser",
    "Lifespan",
    "Lifespans",
    "PipeEnd",
    "QueueDistributor",
    "ReadableWatch",
    "cancel_and_wait",
    "fire_and_forget",
    "in_slices",
    "new_event_loop",
    "run",
    "running_loop",
    "supervised_task",
]
