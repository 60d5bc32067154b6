import marimo

app = marimo.App()


@app.cell
def _():
    import marimo as mo
    import os
    import time

    return mo, os, time


@app.cell
def _(mo):
    go = mo.ui.slider(0, 100, label="go")
    go
    return (go,)


@app.cell
def _(go, mo, os, time):
    if go.value:
        with open(os.environ["LONG_CELL_LOG"], "a") as log:
            log.write("began\n")
            log.flush()
            until = time.monotonic() + go.value / 10
            while time.monotonic() < until:
                time.sleep(0.01)
            log.write("ended\n")
    mo.md(f"went {go.value}")
    return


if __name__ == "__main__":
    app.run()
