import marimo

__generated_with = "0.23.8"
app = marimo.App()


@app.cell
def _():
    import ctypes
    import multiprocessing.util
    import os
    import signal
    import subprocess

    import marimo as mo

    return ctypes, mo, multiprocessing, os, signal, subprocess


@app.cell
def _(mo):
    number = mo.ui.slider(0, 1000, value=1, label="Number")
    upload = mo.ui.file(label="Upload")
    noise = mo.ui.slider(0, 1000, value=0, label="Noise")
    children = mo.ui.slider(0, 1000, value=0, label="Children")
    mo.vstack([number, upload, noise, children])
    return children, noise, number, upload


@app.cell
def _(ctypes, mo, number, os, signal):
    ends = {
        991: lambda: ctypes.string_at(0),
        992: lambda: os._exit(3),
        993: os.abort,
        994: lambda: os.kill(os.getpid(), signal.SIGKILL),
    }
    if number.value in ends:
        ends[number.value]()
    mo.vstack(
        [
            mo.md(f"number {number.value} in process {os.getpid()}."),
            mo.download(f"{number.value} ".encode() * 10_000, filename="number.txt"),
        ]
    )
    return


@app.cell
def _(mo, upload):
    mo.md(f"upload of {len(upload.contents() or b'')} bytes.")
    return


@app.cell
def _(mo, noise):
    for _ in range(noise.value):
        mo.output.replace(mo.plain_text("x" * 65_536))
    return


@app.cell
def _(children, mo, multiprocessing, subprocess):
    if children.value:
        # One in a process session of its own, one whose parent has gone besides.
        subprocess.Popen(["sleep", "1000"], start_new_session=True)
        subprocess.Popen(["sh", "-c", "setsid sleep 1000 &"], start_new_session=True).wait()
        multiprocessing.util.get_temp_dir()
    mo.md(f"children of {children.value} started.")
    return


if __name__ == "__main__":
    app.run()
