"""Pages choose the names of marimo's sessions: when two have the same name, nobody is harmed."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest
from e2e.harness import NOTEBOOKS, Server, Tab, TabClosed

_TWICE = f"""
import sys, marimo, uvicorn
from starlette.applications import Starlette

app = Starlette()
for path in ("/one", "/two"):
    builder = marimo.create_asgi_app(session_ttl=0)
    app.mount(path, builder.with_app(path="/app", root={str(NOTEBOOKS / "slider.py")!r}).build())
uvicorn.run(app, port=int(sys.argv[1]), log_level="error")
"""


def twice(tmp_path: Path) -> Server:
    """One notebook that is mounted at /one and at /two, each with a session manager of its own."""
    program = tmp_path / "twice.py"
    program.write_text(_TWICE)
    return Server(
        program=(sys.executable, str(program)), server_options=("{port}",), health="/one/app/health"
    )


async def works(tab: Tab, number: int) -> None:
    await tab.set_ui("Number", number)
    await tab.wait_for(f"number {number} squared is {number**2}")


async def test_a_name_that_another_page_has_is_refused_by_name_and_that_page_goes_on(
    tmp_path: Path,
) -> None:
    async with twice(tmp_path) as server:
        async with Tab(f"{server.url}/one/app") as first, Tab(f"{server.url}/two/app") as second:
            await first.wait_for("in process")
            second_name, second.session_id = second.session_id, first.session_id
            await second.close()
            with pytest.raises(TabClosed):
                await second.open()
            (refusal,) = second.received("kernel-startup-error")
            assert f"a session {first.session_id} of slider.py is open already" in str(refusal)
            await works(first, 7)
            assert first.close_code is None
            second.session_id = second_name
            await second.open()
            await second.wait_for("in process")
            await works(first, 8)
        output = await asyncio.to_thread(server.output)
        assert "Traceback" not in output
