"""Notebooks that were opened only once do not accumulate in the pool that marimo has."""

from __future__ import annotations

import queue
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mpkernel.marimo_backend.server import shared_pool as pool_module
from mpkernel.marimo_backend.server.shared_pool import PoolLease, shared_pool

KEPT = 4


@pytest.fixture
async def lease(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PoolLease]:
    monkeypatch.setattr(pool_module, "_KEPT_ADAPTERS", KEPT)
    shared = shared_pool()
    lease = shared.lease_for(None)
    yield lease
    lease.shutdown()
    await shared.hosts.close()


async def test_of_many_adapters_those_in_use_are_kept(lease: PoolLease, tmp_path: Path) -> None:
    used = lease.get_or_create(str(tmp_path / "used.py"))
    used.register_stream("session", queue.Queue())
    for number in range(5 * KEPT):
        adapter = lease.get_or_create(str(tmp_path / f"once{number}.py"))
        assert lease.get_or_create(str(tmp_path / f"once{number}.py")) is adapter
    assert len(lease._adapters) <= KEPT
    assert lease.get_or_create(str(tmp_path / "used.py")) is used


async def test_when_all_are_in_use_all_are_kept(lease: PoolLease, tmp_path: Path) -> None:
    adapters = []
    for number in range(3 * KEPT):
        adapter = lease.get_or_create(str(tmp_path / f"used{number}.py"))
        adapter.register_stream("session", queue.Queue())
        adapters.append(adapter)
    for number, adapter in enumerate(adapters):
        assert lease.get_or_create(str(tmp_path / f"used{number}.py")) is adapter
