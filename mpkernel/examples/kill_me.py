# /// script
# [tool.marimo.opengraph]
# title = "Kill me"
# description = "A button that ends the app's process with a segfault. The tab comes back, with its values."
# image = "__marimo__/kill_me.svg"
# ///
import marimo

__generated_with = "0.23.8"
app = marimo.App(width="medium", app_title="Kill me")


@app.cell
def _():
    import ctypes
    import os

    import marimo as mo

    return ctypes, mo, os


@app.cell
def _(mo, os):
    mo.md(f"""
    # Kill me

    This page runs in process **{os.getpid()}**. Set the slider, then press the button: it reads
    from address 0, and the system ends the process at once, without a word to Python.

    mpkernel starts another process, gives this tab back to it, and sets the slider again. The
    button is not pressed again. `mpkernel crashes 1` shows where it happened.
    """)
    return


@app.cell
def _(mo):
    wish = mo.ui.slider(0, 10, value=3, label="Remember this", show_value=True)
    kill = mo.ui.run_button(kind="danger", label="Segfault")
    mo.hstack([wish, kill], justify="start", gap=2)
    return kill, wish


@app.cell
def _(mo, wish):
    mo.md(f"The slider is at **{wish.value}**.")
    return


@app.cell
def _(ctypes, kill):
    if kill.value:
        ctypes.string_at(0)
    return


if __name__ == "__main__":
    app.run()
