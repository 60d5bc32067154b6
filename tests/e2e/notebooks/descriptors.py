import marimo

__generated_with = "0.23.8"
app = marimo.App()


@app.cell
def _():
    import ctypes
    import os
    import subprocess

    import marimo as mo

    return ctypes, mo, os, subprocess


@app.cell
def _(mo):
    token = mo.query_params().get("token", "nobody")
    round_ = mo.ui.slider(0, 9, value=0, label="Round")
    mo.hstack([mo.md(f"tab of {token}"), round_])
    return round_, token


@app.cell
def _(ctypes, mo, os, round_, subprocess, token):
    os.write(1, f"os.write of {token} {round_.value}\n".encode())
    ctypes.CDLL(None).printf(f"printf of {token} {round_.value}\n".encode())
    subprocess.run(
        ["sh", "-c", f"echo subprocess of {token} {round_.value} >&2"], check=True
    )
    mo.md(f"round {round_.value} done")
    return


if __name__ == "__main__":
    app.run()
