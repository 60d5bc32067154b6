"""A notebook of marimo's that is confined: it runs, from a standby, with files and widgets; what it
may not do is said in its cell."""

from __future__ import annotations

import base64
import subprocess
import sys
from pathlib import Path

import pytest
from e2e.harness import Server, Tab
from e2e.test_standby import warm_process
from waiting import until_async

from mpkernel.confinement.landlock import version

NOTEBOOK = """\
import marimo

app = marimo.App()


@app.cell
def _():
    import os
    import traceback

    import marimo as mo

    table = mo.ui.table([{"a": i} for i in range(50)], label="Rows")
    table
    return mo, os, traceback


@app.cell
def _(mo, os, traceback):
    try:
        open("SECRET")
    except PermissionError:
        told = traceback.format_exc().splitlines()[-1]
    mo.plain_text(f"told: {told} pid: {os.getpid()} end")
    return


@app.cell
def _(mo):
    with mo.persistent_cache("named"):
        cube = 27
    mo.plain_text(f"cached: {cube} end")
    return


@app.cell
def _(mo):
    @mo.persistent_cache
    def square(x):
        return x**2

    mo.plain_text(f"squares: {square(3)} {square(3)} end")
    return

CACHED


@app.cell
def _(mo):
    import tempfile

    import duckdb
    import matplotlib.pyplot as plt
    import polars

    frame = polars.DataFrame({"a": [1, 2, 3]})
    with tempfile.TemporaryDirectory() as folder:
        frame.write_parquet(folder + "/a.parquet")
        total = duckdb.sql(f"select sum(a) from '{folder}/a.parquet'").fetchall()[0][0]
    figure, axes = plt.subplots()
    axes.plot([1, 2])
    mo.vstack([mo.plain_text(f"sum: {total} end"), figure])
    return


@app.cell
def _(mo):
    upload = mo.ui.file(label="Upload")
    upload
    return (upload,)


@app.cell
def _(mo, upload):
    content = upload.contents() or b"nothing"
    download = mo.download(data=content, filename="again.bin")
    mo.vstack([mo.plain_text(f"uploaded: {len(content)} bytes end"), download])
    return


@app.cell
def _(mo):
    image = mo.image(b"\\x89PNG" + bytes(100_000))
    mo.plain_text(f"image: {image.text[:60]} end")
    return


if __name__ == "__main__":
    app.run()
"""


CACHED = """
@app.cell
def _(mo, os):
    @mo.persistent_cache
    def computed_by():
        return os.getpid()

    mo.plain_text(f"computed by: {computed_by()} end")
    return
"""
BEFORE = f"""\
import marimo

app = marimo.App()


@app.cell
def _():
    import os

    import marimo as mo

    return mo, os

{CACHED}

if __name__ == "__main__":
    import os

    app.run()
    print(os.getpid())
"""
"""A notebook that has filled the cache that lies beside the confined one."""


@pytest.mark.skipif(version() < 6, reason="this kernel cannot confine an app wholly")
@pytest.mark.parametrize("level", ["files", "strict"])
async def test_a_notebook_runs_confined_from_a_standby(tmp_path: Path, level: str) -> None:
    folder = tmp_path / "served"
    folder.mkdir()
    secret = tmp_path / "secret"
    secret.write_text("secret")
    notebook = folder / "confined.py"
    notebook.write_text(NOTEBOOK.replace("SECRET", str(secret)).replace("CACHED", CACHED))
    before = folder / "before.py"
    before.write_text(BEFORE)
    pid = subprocess.check_output([sys.executable, before], text=True).strip()
    async with Server(str(notebook), options=["--confine", level], standby=True) as server:
        standby = await warm_process(server)
        async with Tab(server.url, str(notebook)) as tab:
            await tab.wait_until_run()
            await tab.wait_for(f"told: mpkernel: this app is confined (confine={level})")
            await tab.wait_for("@file/100004-")
            assert f"pid: {standby.pid} end" in tab.text
            await tab.wait_for("cached: 27 end")
            await tab.wait_for("squares: 9 9 end")
            await tab.wait_for(f"computed by: {pid} end")
            await tab.wait_for("sum: 6 end")
            await tab.set_ui("Upload", [["some.bin", base64.b64encode(bytes(1234)).decode()]])
            await tab.wait_for("uploaded: 1234 bytes end")
            await until_async(lambda: f"confined: {level}" in status())  # written once a second


def status() -> str:
    program = [sys.executable, "-m", "mpkernel", "status"]
    return subprocess.run(program, stdout=subprocess.PIPE, text=True, check=True).stdout
