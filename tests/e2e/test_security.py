"""What a notebook cannot get from its server, and what the server does not accept from a
notebook."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from pathlib import Path

import psutil
from e2e.harness import NOTEBOOKS, Server, Tab
from e2e.test_serving import hosts_of

SECURITY = str(NOTEBOOKS / "security.py")
NO_UNPICKLING = str(Path(__file__).parents[1] / "no_unpickling.py")
SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "hush-1",
    "GITHUB_TOKEN": "hush-2",
    "MARIMO_SESSION_SECRET": "hush-3-" + "x" * 40,
    "NOT_SECRET": "hush-not",
}


def environ_of(process: psutil.Process) -> bytes:
    return Path(f"/proc/{process.pid}/environ").read_bytes()


async def test_a_notebook_has_no_secret_that_is_denied_to_it() -> None:
    options = ["--env-deny", "AWS_*,*_TOKEN"]
    with Server(SECURITY, options=options, env=SECRETS, standby=True) as server:
        async with Tab(server.url, SECURITY) as tab:
            await tab.wait_for("hushed: ")
            found = re.search(r"hushed: (\S*) of (\S*) of (\S*) end", tab.text)
            assert found is not None, tab.text
            assert found.groups() == ("NOT_SECRET", "NOT_SECRET", "NOT_SECRET")
            hosts = hosts_of(server)
            assert len(hosts) == 2, "the notebook's, and a standby"
            for process in hosts:
                assert b"hush-not" in environ_of(process)
                assert not re.search(rb"hush-\d", environ_of(process))
            assert b"hush-1" in environ_of(psutil.Process(server.pid))


async def test_a_server_that_cannot_unpickle_serves_notebooks(tmp_path: Path) -> None:
    """Values, functions, virtual files, a death, and the end of the server."""
    record = tmp_path / "record"
    program = (sys.executable, NO_UNPICKLING, str(record), "run")
    with Server(SECURITY, program=program) as server:
        async with Tab(server.url, SECURITY) as tab:
            await tab.wait_until_run()
            await tab.set_ui("Number", 7)
            await tab.wait_for("number 7 end")
            table = tab.element("Rows")
            call = {
                "functionCallId": "call-1",
                "namespace": table.object_id,
                "functionName": "search",
                "args": {"page_number": 3, "page_size": 5},
            }
            (await tab.post("api/kernel/function_call", call)).raise_for_status()
            await tab.wait_for(lambda tab: tab.received("function-call-result"))
            [answer] = tab.received("function-call-result")
            assert answer["status"]["code"] == "ok"
            assert "15" in str(answer["return_value"])
            [url] = set(re.findall(r"\./@file/\d+-[\w.-]+\.png", tab.html))
            assert (await tab.get(url)).content.startswith(b"\x89PNG")
            [died] = [host for host in hosts_of(server) if str(host.pid) in tab.text]
            os.kill(died.pid, signal.SIGKILL)
            await tab.wait_for(lambda tab: f"process {died.pid} end" not in tab.text)
            await tab.wait_for("number 7 end")
        await asyncio.to_thread(server.stop, signal.SIGTERM)
        assert record.read_text() == ""
