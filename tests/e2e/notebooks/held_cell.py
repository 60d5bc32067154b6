import marimo

app = marimo.App()


@app.cell
def _():
    import os
    import time
    from pathlib import Path

    import marimo as mo

    folder = Path(os.environ["HELD_CELL"])
    return folder, mo, time


@app.cell
def _(mo):
    go = mo.ui.slider(0, 9, label="go")
    go
    return (go,)


@app.cell
def _(mo):
    press = mo.ui.button(value=0, on_click=lambda value: value + 1, label="Press")
    press
    return (press,)


@app.cell
def _(mo, press):
    mo.md(f"pressed {press.value} times")
    return


@app.cell
def _(folder, go, mo, time):
    if go.value:
        (folder / "began").touch()
        while not (folder / "go on").exists():
            time.sleep(0.01)
        (folder / "ended").touch()
    mo.md(f"went {go.value}")
    return


if __name__ == "__main__":
    app.run()
