"""A notebook gets what middleware puts into a request, without importing the server's program."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from e2e.harness import Server, Tab

FOLDER = Path(__file__).with_name("requests")
PROGRAMS = {
    "python srv.py": ((sys.executable, str(FOLDER / "srv.py")), ("{port}",)),
    "uvicorn srv:app": (
        (sys.executable, "-m", "uvicorn", "--app-dir", str(FOLDER), "srv:app"),
        ("--port", "{port}"),
    ),
}


def serve(
    program: str, log: Path, *, builder: str = "mpkernel", user: str = "own", **more: str
) -> Server:
    command, options = PROGRAMS[program]
    env = {"REQUESTS_LOG": str(log), "REQUESTS_BUILDER": builder, "REQUESTS_USER": user, **more}
    if builder == "marimo":
        env["MPKERNEL_DISABLE"] = "1"
    return Server(program=command, server_options=options, env=env)


async def shown_by(server: Server) -> tuple[dict[str, Any], dict[str, str], int]:
    """What the notebook saw, what it missed, and its process."""
    async with Tab(server.url) as tab:
        await tab.wait_for("in process")
        found = re.search(r"seen (.*?) missing (.*?) in process (\d+) end", tab.text)
        assert found is not None
        return json.loads(found[1]), json.loads(found[2]), int(found[3])


@pytest.mark.parametrize("program", PROGRAMS)
async def test_a_request_carries_its_data_and_never_the_servers_program(
    program: str, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    async with serve(program, log) as server:
        seen, missing, process = await shown_by(server)
        warned = server.output()
    assert process != server.pid
    assert log.read_text().split()[0::2] == [str(server.pid)]
    assert seen == {
        "user": {"username": "ada", "is_authenticated": True, "display_name": "Ada"},
        "plain": {"numbers": [1, 2.5], "none": None},
        "tenant": ["Acme", "admin", "Tenant Acme"],
        "point": [3, 4],
        "tags": "red",
        "path": "/tmp",
        "with_connection": "Tenant Base",
    }
    assert "sqlite3.Connection is not here" in missing["connection"]
    assert "sqlite3.Connection" in missing["inner"]
    assert "_thread.lock" in missing["lock"]
    assert "code of the server's program" in missing["function"]
    assert "Tenant" in missing["class"]
    assert missing["nested"].startswith("<not carried to this app's process: builtins.list")
    assert "only its data was carried" in missing["method"]
    assert missing["shown"] == "True"
    for key in ("connection", "lock", "function", "class", "nested"):
        assert f"in request.meta['{key}']" in warned
    assert "in request.meta['with_connection']" in warned


async def test_what_a_user_is_does_not_differ_from_plain_marimo(tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with (
        serve("uvicorn srv:app", log, user="simple") as ours,
        serve("uvicorn srv:app", log, user="simple", builder="marimo") as plain,
    ):
        seen, _, process = await shown_by(ours)
        expected, _, own = await shown_by(plain)
    assert seen == expected
    assert own == plain.pid != process


async def test_a_request_that_is_too_large_reaches_the_page_as_an_error(tmp_path: Path) -> None:
    limits = {"MPKERNEL_MAX_FRAME_BYTES": "65536", "REQUESTS_LARGE": "100000"}
    async with (
        serve("uvicorn srv:app", tmp_path / "log", **limits) as server,
        Tab(server.url) as tab,
    ):
        await tab.wait_for(lambda tab: "over the limit of 65536" in str(tab.received("banner")))
        assert tab.received("banner")[-1]["title"] == "This app cannot run"
