"""`AppTasks`: tells the scheduler that tasks which are leases of apps last long.

A lease lasts until its app is closed, and computes almost nothing. Without this plugin, the
scheduler expects a lease to last half a second, or as long as earlier ones. Then it would let a
lease wait behind another one although a worker is idle; an adaptive cluster would not grow; and a
worker whose app is in use could be ended.
"""

from __future__ import annotations

from typing import Any

from distributed.diagnostics.plugin import SchedulerPlugin

__all__ = ["LEASE", "AppTasks"]

LEASE = "mpkernel_lease"
"""The annotation of the tasks."""

_EXPECTED_S = 3600.0


class AppTasks(SchedulerPlugin):  # type: ignore[misc]
    """A plugin that runs in the scheduler."""

    name = "mpkernel"
    idempotent = True

    def __init__(self) -> None:
        self._scheduler: Any = None

    async def start(self, scheduler: Any) -> None:
        """Called when the scheduler has loaded the plugin."""
        self._scheduler = scheduler

    def transition(
        self, key: Any, start: str, finish: str, *_args: Any, stimulus_id: str, **_kwargs: Any
    ) -> None:
        """A task has come to another state: expect leases to last long."""
        task = self._scheduler.tasks.get(key)
        if task is not None and _is_lease(task):
            task.prefix.duration_average = _EXPECTED_S

    def valid_workers_downscaling(self, scheduler: Any, workers: list[Any]) -> list[Any]:
        """The workers among these that may be ended, because they have no app."""
        return [one for one in workers if not any(map(_is_lease, one.processing))]


def _is_lease(task: Any) -> bool:
    return bool(task.annotations and task.annotations.get(LEASE))
