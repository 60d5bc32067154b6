import marimo

app = marimo.App()


@app.cell
def _():
    import marimo as mo
    import os
    from threading import Condition, Thread
    from time import sleep

    return Condition, Thread, mo, os, sleep


@app.cell
def _(Condition, Thread, mo, os, sleep):
    with mo.persistent_cache("builtin", save_path=os.environ["CACHE"]):
        sleep(0.001)
        slept = 1

    with mo.persistent_cache("functions", save_path=os.environ["CACHE"]):
        kinds = [kind.__name__ for kind in (Condition, Thread)]

    f"{slept} {kinds} end"
    return


if __name__ == "__main__":
    app.run()
