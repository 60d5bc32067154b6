"""`AppTasks`: tells the scheduler what it cannot know of the tasks that are leases of apps.

A lease lasts until its app is closed, and does almost nothing. A scheduler that does not know this
expects half a second of it, or as long as earlier ones took. So it would leave a lease waiting
behind another one while a worker is idle, would not have an adaptive cluster grow, or would end a
worker whose app is used.
"""

from __future__ import annotations

from typing import Any

from distributed.diagnostics.plugin import SchedulerPlugin

__all__ = ["LEASE", "AppTasks"]

LEASE = "mpkernel_lease"
"""The annotation of the tasks."""

_EXPECTED_S = 3600.0


class AppTasks(SchedulerPlugin):  # type: ignore[misc]
    """Runs in the scheduler."""

    name = "mpkernel"
    idempotent = True

    def __init__(self) -> None:
        self._scheduler: Any = None

    async def start(self, scheduler: Any) -> None:
        """The scheduler has it from now on."""
        self._scheduler = scheduler

    def transition(
        self, key: Any, start: str, finish: str, *_args: Any, stimulus_id: str, **_kwargs: Any
    ) -> None:
        """A task has come to another state: expect leases to last long."""
        task = self._scheduler.tasks.get(key)
        if task is not None and _is_lease(task):
            task.prefix.duration_average = _EXPECTED_S

    def valid_workers_downscaling(self, scheduler: Any, workers: list[Any]) -> list[Any]:
        """Those of these workers that may be ended: they have no app."""
        return [one for one in workers if not any(map(_is_lease, one.processing))]


def _is_lease(task: Any) -> bool:
    return bool(task.annotations and task.annotations.get(LEASE))
