"""What a session replaces in its process cannot be told from the original."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from kernel.conftest import OpenApp, of, printed

from mpkernel.kernel.messages import Done

UTF_8 = {**os.environ, "PYTHONIOENCODING": "utf-8:strict", "PYTHONUNBUFFERED": ""}
PROBE = Path(__file__).with_name("probe_replaced.py").read_text()


def differences(here: Any, there: Any, where: str = "") -> list[str]:
    """Where two values of JSON differ."""
    if isinstance(here, dict) and isinstance(there, dict):
        return [
            found
            for name in sorted(here.keys() | there.keys())
            for found in differences(here.get(name), there.get(name), f"{where} / {name}")
        ]
    return [] if here == there else [f"{where}: {here!r} is to be {there!r}"]


async def test_what_is_replaced_is_told_from_the_original_by_nothing(
    open_app: OpenApp, tmp_path: Path
) -> None:
    app = tmp_path / "app.py"
    in_session, plain = tmp_path / "in_session.json", tmp_path / "plain.json"
    app.write_text(f"RESULT = {str(plain)!r}\n{PROBE}")
    subprocess.run([sys.executable, str(app)], check=True, capture_output=True, env=UTF_8)
    app.write_text(f"RESULT = {str(in_session)!r}\n{PROBE}")
    client = await open_app()
    client.run_app()
    messages = await client.wait_idle()
    assert of(messages, Done)[-1].outcome == "ok", messages
    found = differences(json.loads(in_session.read_text()), json.loads(plain.read_text()))
    assert not found, "\n".join(found)


async def test_processes_are_given_what_is_replaced(open_app: OpenApp) -> None:
    """By spawn too, and without the `if __name__ == "__main__"` that cells do not have."""
    client = await open_app(
        """\
        import multiprocessing, threading, time
        from concurrent.futures import ProcessPoolExecutor

        def double(n):
            return 2 * n
        # %%
        for method in ("spawn", "fork", "forkserver"):
            with multiprocessing.get_context(method).Pool(1) as pool:
                print(method, pool.map(time.sleep, [0.001]), pool.map(double, [1, 2]))
        with ProcessPoolExecutor(1) as executor:
            print("executor", list(executor.map(time.sleep, [0.001])))
        # The name that the fork server gives itself.
        ignore = multiprocessing.get_context("spawn").Process(
            name="ignore", target=double, args=[1]
        )
        ignore.start()
        ignore.join()
        print("exit code", ignore.exitcode)
        """
    )
    client.run_app()
    messages = await client.wait_idle()
    assert printed(messages) == (
        "spawn [None] [2, 4]\nfork [None] [2, 4]\nforkserver [None] [2, 4]\nexecutor [None]\n"
        "exit code 0\n"
    )


async def test_a_module_that_a_session_imports_is_a_plain_one(
    open_app: OpenApp, tmp_path: Path
) -> None:
    """Also one with a name of its own that `sys` has, too."""
    (tmp_path / "beside.py").write_text("stdout = 5")
    client = await open_app(
        """\
        import importlib.util, sys, types
        import beside, cloudpickle

        print(beside.stdout, type(beside) is types.ModuleType, isinstance(beside, type(sys)))
        print(cloudpickle.loads(cloudpickle.dumps(lambda: beside.__name__))())
        print(type(importlib.util.module_from_spec(beside.__spec__)) is types.ModuleType)
        """
    )
    client.run_app()
    assert printed(await client.wait_idle()) == "5 True True\nbeside\nTrue\n"
