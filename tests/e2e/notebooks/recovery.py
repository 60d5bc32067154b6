import marimo

__generated_with = "0.23.8"
app = marimo.App()


@app.cell
def _():
    import ctypes
    import os
    import time

    import marimo as mo

    params = mo.query_params()

    def note(line):
        with open(params["log"], "a") as log:
            log.write(f"{params['name']} {line}\n")

    return ctypes, mo, note, os, params, time


@app.cell
def _(mo):
    number = mo.ui.slider(0, 1000, value=1, label="Number")
    actions = ["nothing", "SIGSEGV", "SIGABRT", "exit", "memory"]
    action = mo.ui.dropdown(actions, value="nothing", label="Action")
    quick = mo.ui.run_button(label="Quick")
    slow = mo.ui.run_button(label="Slow")
    mo.vstack([number, action, quick, slow])
    return action, number, quick, slow


@app.cell
def _(ctypes, mo, number, os, params):
    if number.value == 99:
        ctypes.string_at(0)
    mo.md(f"{params['name']} has {number.value} in process {os.getpid()} end")
    return


@app.cell
def _(action, ctypes, os, time):
    if action.value == "SIGSEGV":
        ctypes.string_at(0)
    if action.value == "SIGABRT":
        os.abort()
    if action.value == "exit":
        os._exit(3)
    if action.value == "memory":
        large = bytearray(2**30)
        time.sleep(600)
        del large
    return


@app.cell
def _(note, quick):
    if quick.value:
        note("quick")
    return


@app.cell
def _(note, slow, time):
    if slow.value:
        note("slow")
        time.sleep(600)
    return


if __name__ == "__main__":
    app.run()
