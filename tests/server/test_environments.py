"""Which variables of the server's environment an app's process gets, and which it does not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from server.conftest import pipes_and_threads

from mpkernel import HostPool, KernelSpec, Settings
from mpkernel.configuration.apps import AppRule
from mpkernel.configuration.sources import Sources, gather
from mpkernel.errors import SettingsError
from mpkernel.server.launching.environments import KEPT

APP = """
import json, os, subprocess, sys

SHOW = "import json, os; print(json.dumps(dict(os.environ)))"

def main(kernel):
    os.environ["STARTED_AS"] = str(os.getpid())
    kernel.send(json.dumps({
        "pid": os.getpid(),
        "python": dict(os.environ),
        "proc": open("/proc/self/environ").read(),
        "child": json.loads(subprocess.check_output([sys.executable, "-c", SHOW])),
        "maps": "SECRET_VALUE" in str(os.environb),
    }).encode())
    kernel.receive()
"""
SERVERS = {
    "AWS_SECRET_ACCESS_KEY": "SECRET_VALUE",
    "GITHUB_TOKEN": "SECRET_VALUE",
    "MARIMO_SESSION_SECRET": "SECRET_VALUE",
    "LICENSE": "a licence",
}


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "app.py"
    path.write_text(APP)
    for name, value in SERVERS.items():
        monkeypatch.setenv(name, value)
    return path


@asynccontextmanager
async def seen_by(
    app: Path,
    settings: Settings,
    *rules: AppRule,
    env: dict[str, str] | None = None,
    after_standby: bool = False,
) -> AsyncIterator[dict[str, Any]]:
    """The environment that an app sees. `standby` says whether its process was a standby."""
    before = pipes_and_threads()
    async with HostPool(settings, rules=rules) as pool:
        if after_standby:
            assert await pool.standby.wait_ready()
        pids = pool.standby.pids
        session = await pool.open_session(app, kernel=KernelSpec(entry="app:main", env=env))
        seen = msgspec.json.decode((await anext(session)).payload)
        yield {**seen, "standby": seen["pid"] in pids}
    assert not pipes_and_threads() - before


def has_of(seen: dict[str, Any]) -> set[str]:
    """The variables of the server's that the app has, in any way."""
    return {
        name
        for name in SERVERS
        if name in seen["python"] or f"{name}=" in seen["proc"] or name in seen["child"]
    }


async def test_without_settings_an_app_has_all_but_what_signs_in_to_its_server(app: Path) -> None:
    async with seen_by(app, Settings()) as seen:
        assert has_of(seen) == SERVERS.keys() - {"MARIMO_SESSION_SECRET"}
        ours = {k: v for k, v in os.environ.items() if k != "MARIMO_SESSION_SECRET"}
        assert {k: seen["python"].get(k) for k in ours} == ours


@pytest.mark.parametrize("standby", [0, 1])
async def test_what_is_denied_is_nowhere_in_the_process(app: Path, standby: int) -> None:
    settings = Settings(env_deny=("AWS_*", "*_TOKEN"), standby=standby)
    async with seen_by(app, settings, after_standby=bool(standby)) as seen:
        assert seen["standby"] == bool(standby)
        assert has_of(seen) == {"LICENSE"}
        assert not seen["maps"]
        assert b"SECRET_VALUE" not in Path(f"/proc/{seen['pid']}/environ").read_bytes()


async def test_what_is_not_allowed_is_left_out_and_what_a_process_needs_is_not(
    app: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("LC_TIME", "C")
    monkeypatch.setenv("XDG_DATA_HOME", "/nowhere")
    async with seen_by(app, Settings(env_allow=("LIC*", "*_TOKEN"), env_deny=("G*",))) as seen:
        assert has_of(seen) == {"LICENSE"}
        for name in ("PATH", "HOME", "PYTHONDONTWRITEBYTECODE", "LC_TIME", "XDG_DATA_HOME"):
            assert seen["python"].get(name) == os.environ.get(name), name
        others = seen["python"].keys() - {"LICENSE", "STARTED_AS", "MPKERNEL_PROCESS_MARK"}
        stems = tuple(name.rstrip("*") for name in KEPT)
        assert [name for name in others if not name.startswith(stems)] == []


async def test_nothing_is_allowed_by_an_empty_list(app: Path) -> None:
    async with seen_by(app, Settings(env_allow=(), env_deny=("PATH",))) as seen:
        assert not has_of(seen)
        assert seen["python"]["PATH"] == os.environ["PATH"]


async def test_an_app_with_variables_of_its_own_adopts_no_standby_that_has_others(
    app: Path,
) -> None:
    settings = Settings(env_deny=("AWS_*", "*_TOKEN"), standby=1)
    rule = AppRule(str(app), {"env_deny": ("LICENSE",)})
    async with seen_by(app, settings, rule, after_standby=True) as seen:
        assert not seen["standby"]
        assert has_of(seen) == {"AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN"}


async def test_a_rule_that_comes_to_the_same_adopts_it(app: Path) -> None:
    settings = Settings(env_deny=("GITHUB_TOKEN",), standby=1)
    rule = AppRule(str(app), {"env_deny": ("GITHUB_TOKE*", "ABSENT")})
    async with seen_by(app, settings, rule, after_standby=True) as seen:
        assert seen["standby"]
        assert "GITHUB_TOKEN" not in has_of(seen)


async def test_an_environment_that_is_given_is_the_whole(app: Path) -> None:
    given = {"PATH": os.environ["PATH"], "GITHUB_TOKEN": "meant for it"}
    async with seen_by(app, Settings(env_deny=("*_TOKEN",)), env=given) as seen:
        assert seen["python"]["GITHUB_TOKEN"] == "meant for it"
        assert has_of(seen) == {"GITHUB_TOKEN"}


async def test_a_restarted_app_has_no_more_than_before(app: Path) -> None:
    async with HostPool(Settings(env_deny=("*_TOKEN",), restart_backoff_s=0.01)) as pool:
        for _ in range(2):
            session = await pool.open_session(app, kernel=KernelSpec(entry="app:main"))
            seen = msgspec.json.decode((await anext(session)).payload)
            assert "GITHUB_TOKEN" not in has_of(seen)
            [host] = pool.hosts
            host.kill()
            await host.wait_over()


async def test_what_is_denied_is_still_to_be_had_from_the_server_itself(app: Path) -> None:
    """As the page of security warns: its process belongs to the same user."""
    app.write_text(
        "import os\n"
        "def main(kernel):\n"
        "    with open(f'/proc/{os.getppid()}/environ', 'rb') as file:\n"
        "        kernel.send(file.read())\n"
    )
    async with HostPool(Settings(env_allow=())) as pool:
        session = await pool.open_session(app, kernel=KernelSpec(entry="app:main"))
        assert b"PATH=" in (await anext(session)).payload


@pytest.mark.parametrize("pattern", ["", "A B", "NAME=value", "[A", "A]", "\0", "a,b", "[]"])
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    for name in ("env_allow", "env_deny"):
        with pytest.raises(SettingsError, match=f"setting {name} has .* a glob"):
            Settings(**{name: ("GOOD_*", pattern)})


@pytest.mark.parametrize("pattern", ["*", "AWS_*", "?", "[A-Z]*", "*[!_]KEY", "http_proxy", "É*"])
def test_a_pattern_is_taken(pattern: str) -> None:
    assert Settings(env_deny=(pattern,)).env_deny == (pattern,)


def test_a_mistake_names_its_place(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="set by: environment MPKERNEL_ENV_DENY"):
        gather(Sources({"MPKERNEL_ENV_DENY": "GOOD_*,A B"}))
    (tmp_path / "pyproject.toml").write_text('[tool.mpkernel]\nenv_allow = ["[A"]\n')
    with pytest.raises(SettingsError, match="set by: file .*pyproject.toml"):
        gather(Sources(folder=str(tmp_path)))
    (tmp_path / "pyproject.toml").write_text("[tool.mpkernel]\nenv_allow = 3\n")
    with pytest.raises(SettingsError, match="env_allow is 3 .it takes names"):
        gather(Sources(folder=str(tmp_path)))


def test_none_and_a_list_are_both_written_as_text() -> None:
    both = {"MPKERNEL_ENV_ALLOW": "none", "MPKERNEL_ENV_DENY": "AWS_*, *_TOKEN"}
    settings = gather(Sources(both)).settings
    assert settings.env_allow is None
    assert settings.env_deny == ("AWS_*", "*_TOKEN")
    assert gather(Sources({"MPKERNEL_ENV_ALLOW": ""})).settings.env_allow == ()


def test_an_app_in_the_foreground_is_the_users_own_and_has_all(app: Path) -> None:
    says = "import os; print('GITHUB_TOKEN' in os.environ)"
    app.write_text(says)
    ran = subprocess.run(
        [sys.executable, "-m", "mpkernel", "exec", str(app)],
        env={**os.environ, "MPKERNEL_ENV_DENY": "*_TOKEN"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout == "True\n"
