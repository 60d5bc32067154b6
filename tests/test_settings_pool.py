"""Settings for some apps only, in a real pool and in marimo's real server."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from e2e.harness import NOTEBOOKS, Server, Tab

from mpkernel import Channel, HostPool, KernelSpec, PythonClient, Session, Settings
from mpkernel.configuration.apps import AppRule
from mpkernel.errors import HostDied, SettingsError

APP = """
def main(kernel):
    for message in kernel:
        if message.payload == b"file":
            data = bytes(1024 * 1024)
            file = kernel.files.create(data, media_type="text/plain", extension="txt")
            kernel.send(file.key.encode())
        else:
            held = bytearray(int(message.payload))
            kernel.send(b"held")
"""
MIB = 1024 * 1024


@pytest.fixture
def apps(tmp_path: Path) -> Path:
    for name in ("plain", "special"):
        (tmp_path / f"{name}.py").write_text(APP)
    return tmp_path


async def ask(session: Session, question: bytes) -> bytes:
    session.send(Channel.CONTROL, question)
    return bytes((await anext(session)).payload)


async def test_an_app_keeps_files_as_its_rule_says(apps: Path) -> None:
    rules = [AppRule(str(apps / "sp*.py"), {"file_storage": "temp_file"})]
    kinds = []
    async with HostPool(Settings(), rules=rules) as pool:
        for name in ("plain", "special"):
            kernel = KernelSpec(entry=f"{name}:main")
            session = await pool.open_session(apps / f"{name}.py", kernel=kernel)
            with pool.files.lease((await ask(session, b"file")).decode()) as file:
                kinds.append(file.source.kind)
    assert kinds == ["block", "temp_file"]


async def test_an_app_is_watched_as_its_rule_says(apps: Path) -> None:
    rules = [AppRule(str(apps / "special.py"), {"memory_hard_bytes": 128 * MIB})]
    async with HostPool(Settings(watch_interval_s=0.1), rules=rules) as pool:
        plain, special = [
            await pool.open_session(apps / f"{name}.py", kernel=KernelSpec(entry=f"{name}:main"))
            for name in ("plain", "special")
        ]
        assert await ask(plain, b"%d" % (256 * MIB)) == b"held"
        special.send(Channel.CONTROL, b"%d" % (256 * MIB))
        with pytest.raises(HostDied, match="memory"):
            async for _ in special:
                continue
        assert await ask(plain, b"1") == b"held"


async def test_a_rule_that_cannot_be_is_told_to_who_opens_a_session(apps: Path) -> None:
    async with HostPool(rules=[AppRule(str(apps / "special.py"), {"standby": 1})]) as pool:
        with pytest.raises(SettingsError, match="standby"):
            await pool.open_session(apps / "special.py", kernel=KernelSpec(entry="special:main"))
        with pytest.raises(SettingsError, match="standby"):
            await PythonClient.open(pool, apps / "special.py")
        session = await pool.open_session(apps / "plain.py", kernel=KernelSpec(entry="plain:main"))
        assert await ask(session, b"1") == b"held"


async def test_mpkernel_run_reads_the_file_above_what_it_serves(tmp_path: Path) -> None:
    served = tmp_path / "served"
    served.mkdir()
    for name in ("one", "other"):
        shutil.copy(NOTEBOOKS / "download.py", served / f"{name}.py")
    (tmp_path / "pyproject.toml").write_text(
        '[[tool.mpkernel.apps]]\npath = "served/other.py"\nfile_storage = "none"\n'
    )
    async with Server(served) as server:
        async with Tab(server.url, str(served / "one.py")) as tab:
            await tab.wait_for(lambda tab: "@file/" in tab.html)
        async with Tab(server.url, str(served / "other.py")) as tab:
            await tab.wait_for(lambda tab: "base64," in tab.html)
            assert "@file/" not in tab.html
