import marimo

__generated_with = "0.23.8"
app = marimo.App()


@app.cell
def _():
    import json
    import os
    import subprocess
    import sys

    import marimo as mo

    return json, mo, os, subprocess, sys


@app.cell
def _(json, mo, os, subprocess, sys):
    def hushed(environ):
        return ",".join(name for name, value in environ.items() if value.startswith("hush-"))

    show = "import json, os; print(json.dumps(dict(os.environ)))"
    child = json.loads(subprocess.check_output([sys.executable, "-c", show]))
    with open("/proc/self/environ") as file:
        executed = dict(entry.split("=", 1) for entry in file.read().split("\0") if "=" in entry)
    mo.md(f"hushed: {hushed(os.environ)} of {hushed(child)} of {hushed(executed)} end")
    return


@app.cell
def _(mo):
    number = mo.ui.slider(0, 10, label="Number")
    rows = mo.ui.table([{"row": row} for row in range(100)], label="Rows", page_size=5)
    mo.vstack([number, rows])
    return number, rows


@app.cell
def _(mo, number, os):
    picture = mo.image(b"\x89PNG\r\n\x1a\n" + bytes([number.value]) * 100_000)
    mo.vstack([mo.md(f"number {number.value} end process {os.getpid()} end"), picture])
    return


if __name__ == "__main__":
    app.run()
