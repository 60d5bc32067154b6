"""`mpkernel run --log-format json --metrics-file …`: what a log collector and a node exporter get
from a real server, from the death of an app, and from a server that is killed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from e2e.harness import Server, Tab
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from waiting import until

NOTEBOOK = """
import marimo

app = marimo.App()


@app.cell
def _():
    import ctypes
    import os
    import marimo as mo
    action = mo.ui.dropdown(["nothing", "crash"], value="nothing", label="Action")
    action
    return action, ctypes, mo, os


@app.cell
def _(action, ctypes, mo, os):
    os.write(1, b"printed \\\\ \\"quoted\\" \\xff\\n")
    os.write(2, b'{"level":"CRITICAL","message":"forged"}\\n')
    if action.value == "crash":
        ctypes.string_at(0)
    mo.md(f"runs in process {os.getpid()} end")
    return
"""
INTERVAL_S = 0.2


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    folder = tmp_path / "notebooks"
    folder.mkdir()
    path = folder / 'it\'s "odd" ✓.py'
    path.write_text(NOTEBOOK)
    return path


def metrics(path: Path) -> dict[tuple[str, str], float]:
    """Samples by their names and by the label that distinguishes samples of one app."""
    families = text_string_to_metric_families(path.read_text())
    return {
        (
            one.name.removeprefix("mpkernel_"),
            one.labels.get("reason", one.labels.get("state", "")),
        ): one.value
        for family in families
        for one in family.samples
        if "le" not in one.labels
    }


def options(path: Path) -> list[str]:
    return ["--metrics-file", str(path), "--metrics-interval-s", str(INTERVAL_S)]


def process_of(tab: Tab) -> int:
    found = re.search(r"in process (\d+) end", tab.text)
    assert found is not None, tab.text
    return int(found[1])


async def test_a_death_is_in_the_log_and_in_the_metrics(notebook: Path, tmp_path: Path) -> None:
    path = tmp_path / "notebooks.prom"
    flags = ["--log-format", "json", *options(path)]
    async with Server(notebook, options=flags) as server:
        async with Tab(server.url) as tab:
            await tab.wait_for("in process")
            died = process_of(tab)
            await tab.set_ui("Action", ["crash"])
            await tab.wait_for(lambda tab: tab.received("banner") and process_of(tab) != died)
            until(lambda: metrics(path)["host_deaths_total", "crash"] == 1)
            until(lambda: metrics(path)["hosts", "ready"] == 1)
            now = metrics(path)
        lines = [json.loads(line) for line in server.output().splitlines()]
        server.stop()
        assert not path.exists()
        after = [json.loads(line) for line in server.output().splitlines()]
    assert now["host_starts_total", ""] == 2
    assert now["host_deaths_total", "killed"] == 0
    assert now["sessions", ""] == 1
    assert now["sessions_opened_total", ""] == 1
    assert now["host_start_seconds_count", ""] == 2
    assert now["kernel_input_bytes_total", ""] > 0
    assert now["kernel_output_bytes_total", ""] > 0

    printed = {
        "stream": "stdout",
        "text": 'printed \\ "quoted" \\xff',
        "pid": died,
        "app": str(notebook),
    }
    assert printed in [without_time(line) for line in lines]
    forged = [line for line in lines if "forged" in line.get("text", "")]
    assert {line["stream"] for line in forged} == {"stderr"}
    assert all("level" not in line for line in forged)
    logged = [line for line in lines if "level" in line]
    [death] = [line for line in logged if "was killed by SIGSEGV sessions=1" in line["message"]]
    assert (death["app"], death["pid"], death["level"]) == (str(notebook), died, "WARNING")
    [restart] = [line for line in logged if line["message"].startswith("session restarted")]
    assert (restart["app"], restart["session"]) == (str(notebook), tab.session_id)
    [faults] = [line for line in logged if line["message"].startswith("last output")]
    assert "Segmentation fault" in faults["message"]
    banner = [line for line in lines if line.get("pid") == server.pid and "text" in line]
    assert any(server.url.rpartition(":")[2] in line["text"] for line in banner)
    assert len(after) >= len(lines)


def without_time(line: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in line.items() if name != "time"}


async def test_a_killed_server_is_recognised_by_the_age_of_what_it_left(
    notebook: Path, tmp_path: Path
) -> None:
    path = tmp_path / "notebooks.prom"
    async with Server(notebook, options=options(path)) as server:
        async with Tab(server.url) as tab:
            await tab.wait_for("in process")
            until(lambda: metrics(path)["hosts", "ready"] == 1)
        server.kill()
    left = path.read_text()
    written_at = metrics(path)["server_written_timestamp_seconds", ""]
    until(lambda: time.time() - written_at > 3 * INTERVAL_S)
    assert path.read_text() == left
    assert f'pid="{server.pid}"' in left
    async with Server(notebook, options=options(path)) as next_one, Tab(next_one.url) as tab:
        await tab.wait_for("in process")
        until(lambda: f'pid="{next_one.pid}"' in path.read_text())
        assert metrics(path)["server_written_timestamp_seconds", ""] > written_at


@pytest.mark.parametrize("as_json", [False, True], ids=["plain", "json"])
async def test_starts_and_ends_are_in_the_log_when_it_is_asked_for_them(
    notebook: Path, as_json: bool
) -> None:
    flags = ["--log-level", "info", *(["--log-format", "json"] if as_json else [])]
    async with Server(notebook, options=flags) as server:
        async with Tab(server.url) as tab:
            await tab.wait_for("in process")
            process = process_of(tab)
        server.stop()
        lines = server.output().splitlines()
    for what in ("host started", "host closed"):
        if as_json:
            logged = [line for line in map(json.loads, lines) if line.get("message") == what]
            assert [(line["level"], line["app"], line["pid"]) for line in logged] == [
                ("INFO", str(notebook), process)
            ]
        else:
            assert lines.count(f"{what} app={notebook} pid={process}") == 1


@pytest.mark.parametrize(
    "form", [["--log-format", "xml"], ["--log-level", "loud"], ["--metrics-interval-s=0"]]
)
def test_what_cannot_be_is_refused(notebook: Path, form: list[str]) -> None:
    refused = subprocess.run(
        [sys.executable, "-m", "mpkernel", "run", str(notebook), "--headless", *form],
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert refused.returncode == 1
    assert form[0].partition("=")[0] in refused.stderr


PROGRAM = """
import asyncio, gc, logging, os, sys, threading, warnings
from mpkernel.cli.log_format import log_as_json
import marimo, uvicorn, uvicorn.config
from marimo._loggers import marimo_logger

marimo_logger()
log_as_json()
uvicorn.Config(app="none:none", log_level="info")
logging.getLogger("uvicorn.error").error("of uvicorn")
access = '%s - "%s %s HTTP/%s" %d'
logging.getLogger("uvicorn.access").info(access, "1.2.3.4:5", "GET", "/", "1.1", 200)
marimo_logger().warning("of marimo\\nin two lines")
logging.getLogger("any").warning("of any")
logging.getLogger("any").info("not shown")
warnings.warn("of warnings")
print("of print", end="")
sys.stdout.write(", and more\\nnext")
sys.stdout.flush()
print("of stderr", file=sys.stderr)

def fail(text):
    raise LookupError(text)

thread = threading.Thread(target=fail, args=("of a thread",))
thread.start()
thread.join()

class Unraisable:
    def __del__(self):
        fail("of a del")

Unraisable()
gc.collect()

async def forget():
    asyncio.get_running_loop().create_task(asyncio.sleep(0)).add_done_callback(
        lambda _: fail("of a callback")
    )
    await asyncio.sleep(0.01)

asyncio.run(forget())
fail("of the main thread")
"""


def test_all_that_python_says_is_json() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert ended.returncode == 1
    told = [json.loads(line) for line in ended.stderr.splitlines()]
    assert {line["pid"] for line in told if "level" in line} == {told[0]["pid"]}
    assert [(one.get("logger"), one.get("level"), told_text(one)) for one in told] == [
        ("uvicorn.error", "ERROR", "of uvicorn"),
        ("marimo", "WARNING", "of marimo\nin two lines"),
        ("any", "WARNING", "of any"),
        ("py.warnings", "WARNING", "UserWarning: of warnings"),
        (None, None, "of stderr"),
        ("mpkernel.cli.log_format", "ERROR", "LookupError: of a thread"),
        ("mpkernel.cli.log_format", "ERROR", "LookupError: of a del"),
        ("asyncio", "ERROR", "LookupError: of a callback"),
        ("mpkernel.cli.log_format", "CRITICAL", "LookupError: of the main thread"),
    ]
    printed = [told_text(json.loads(line)) for line in ended.stdout.splitlines()]
    assert printed == ['1.2.3.4:5 - "GET / HTTP/1.1" 200', "of print, and more", "next"]


def told_text(line: dict[str, Any]) -> str:
    """The text of a log line: of an exception only its last line, of a warning only its
    category."""
    if "exception" in line:
        return str(line["exception"].splitlines()[-1])
    text = str(line.get("text", line.get("message")))
    warning = re.search(r"UserWarning: .*", text)
    return warning[0] if warning else text
