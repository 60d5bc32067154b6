import marimo

app = marimo.App()


@app.cell
def _():
    import os
    import time

    import marimo as mo

    params = mo.query_params()
    return mo, os, params, time


@app.cell
def _(mo):
    number = mo.ui.slider(0, 1000, value=1, label="Number")
    work = mo.ui.slider(0, 1000, value=0, label="Work")
    mo.vstack([number, work])
    return number, work


@app.cell
def _(mo, number, os):
    mo.md(f"number {number.value} in process {os.getpid()} end")
    return


@app.cell
def _(mo, os, params, time, work):
    # It computes, in Python, until the file is there.
    began = os.path.join(params["folder"], f"{params['name']}-{work.value}")
    if work.value:
        open(began, "w").close()
        while not os.path.exists(os.path.join(params["folder"], "enough")):
            time.sleep(0)
    mo.md(f"worked {work.value}")
    return


if __name__ == "__main__":
    app.run()
