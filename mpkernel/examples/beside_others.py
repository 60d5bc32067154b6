# /// script
# [tool.marimo.opengraph]
# title = "Compute beside others"
# description = "While one tab computes, a new tab gets a process of its own, and does not wait."
# image = "__marimo__/beside_others.svg"
# ///
import marimo

__generated_with = "0.23.8"
app = marimo.App(width="medium", app_title="Compute beside others")


@app.cell
def _():
    import os
    import time

    import marimo as mo

    return mo, os, time


@app.cell
def _(mo, os):
    mo.md(f"""
    # Compute beside others

    This tab runs in process **{os.getpid()}**. Tabs of one app share a process, until one of them
    computes: press the button, and open this page in a second tab meanwhile. The second tab gets a
    process of its own, since the settings of these examples allow up to three
    (`processes_max = 3`).
    """)
    return


@app.cell
def _(mo):
    seconds = mo.ui.slider(1, 60, value=10, label="Seconds", show_value=True)
    start = mo.ui.run_button(label="Compute")
    mo.hstack([seconds, start], justify="start", gap=2)
    return seconds, start


@app.cell
def _(mo, seconds, start, time):
    mo.stop(not start.value, mo.md("Nothing is computed."))
    mo.output.replace(mo.md("It computes."))
    end = time.monotonic() + seconds.value
    rounds = 0
    while time.monotonic() < end:
        sum(range(10_000))
        rounds += 1
    mo.output.replace(mo.md(f"Computed **{rounds:,}** rounds."))
    return


if __name__ == "__main__":
    app.run()
