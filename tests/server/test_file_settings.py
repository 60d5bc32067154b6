"""Virtual files of real hosts: quotas, other storages, and what is kept to be used again."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from server.obedient import FILES, Obeying, blocks, bytes_of, obeying_in
from waiting import until_async

from mpkernel import HostPool, Settings


@pytest.fixture
def settings(request: pytest.FixtureRequest) -> Settings:
    return Settings(**getattr(request, "param", {}))


@pytest.fixture
def obeying(pool: HostPool) -> Obeying:
    return obeying_in(pool)


@pytest.mark.parametrize("settings", [{"session_files_bytes": 10_000}], indirect=True)
async def test_a_session_over_its_quota_is_told_and_others_go_on(
    pool: HostPool, obeying: Obeying
) -> None:
    first, second = await obeying(), await obeying()
    await first.do("kernel.files.store('a', b'a' * 9000)")
    error = await first.fail("kernel.files.store('b', b'b' * 2000)")
    assert "QuotaExceeded" in error
    assert "10,000" in error
    await second.do("kernel.files.store('c', b'c' * 9000)")
    await first.do("kernel.files.remove('a')")
    await first.do("pass")
    await first.do("kernel.files.store('b', b'b' * 2000)")


@pytest.mark.parametrize("settings", [{"files_bytes": 10_000}], indirect=True)
async def test_what_is_over_the_pools_quota_is_refused_whichever_host_it_is_of(
    pool: HostPool,
    obeying: Obeying,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    other_app = tmp_path / "files.py"
    other_app.write_text(FILES.read_text())
    first, other = await obeying(), await obeying(other_app)
    await first.do("kernel.files.store('a', b'a' * 9000)")
    await other.do("kernel.files.store('b', b'b' * 2000)")
    assert "b" not in pool.files
    assert "QuotaExceeded" in caplog.text or "quota" in caplog.text
    await first.do("kernel.files.remove('a')")
    await other.do("kernel.files.remove('b'); kernel.files.store('b', b'c' * 2000)")
    assert bytes_of(pool, "b") == b"c" * 2000


@pytest.mark.parametrize("settings", [{"file_storage": "temp_file"}], indirect=True)
async def test_files_can_lie_in_temporary_files(pool: HostPool, obeying: Obeying) -> None:
    told = await obeying()
    await told.do("kernel.files.store('a', bytes(range(256)) * 100)")
    assert bytes_of(pool, "a", 256, 256) == bytes(range(256))
    with pool.files.lease("a") as entry:
        path = Path(entry.source.location)
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700
        await told.do("kernel.files.remove('a')")
        assert b"".join(entry.chunks()) == bytes(range(256)) * 100
    await until_async(lambda: not path.exists())
    await told.do("kernel.files.store('b', b'x')")
    os.kill(told.session.pid, signal.SIGKILL)
    await until_async(lambda: not path.parent.exists())


@pytest.mark.parametrize("settings", [{"file_storage": None}], indirect=True)
async def test_without_a_storage_files_are_data_urls(pool: HostPool, obeying: Obeying) -> None:
    told = await obeying()
    url = await told.do("result = kernel.files.create(b'abc', media_type='text/plain').url")
    assert url == "data:text/plain;base64,YWJj"
    assert "file_storage" in await told.fail("kernel.files.store('a', b'abc')")
    assert len(pool.files) == 0


@pytest.mark.parametrize("settings", [{"recycled_files_age_s": 0.2}], indirect=True)
async def test_an_idle_host_gives_its_free_memory_up(pool: HostPool, obeying: Obeying) -> None:
    told = await obeying()
    for key in "abc":
        await told.do(f"kernel.files.store('{key}', b'x' * 50_000)")
        assert bytes_of(pool, key) == b"x" * 50_000
        await told.do(f"kernel.files.remove('{key}')")
    assert blocks(told.prefix)
    await until_async(lambda: not blocks(told.prefix))
