# /// script
# [tool.marimo.opengraph]
# title = "Output that streams"
# description = "Lines and a progress bar appear while a cell still runs. Other tabs have their own."
# image = "__marimo__/progress.svg"
# ///
import marimo

__generated_with = "0.23.8"
app = marimo.App(width="medium", app_title="Output that streams")


@app.cell
def _():
    import time

    import marimo as mo

    return mo, time


@app.cell
def _(mo):
    mo.md("""
    # Output that streams

    Each step takes a while. What it shows arrives at once, and not when the cell has ended.
    """)
    return


@app.cell
def _(mo):
    steps = mo.ui.slider(2, 20, value=8, label="Steps", show_value=True)
    start = mo.ui.run_button(label="Start")
    mo.hstack([steps, start], justify="start", gap=2)
    return start, steps


@app.cell
def _(mo, start, steps, time):
    mo.stop(not start.value)
    with mo.status.progress_bar(total=steps.value, title="Works", remove_on_exit=True) as bar:
        for step in range(1, steps.value + 1):
            time.sleep(0.4)
            mo.output.append(mo.md(f"step {step} is done"))
            bar.update()
    mo.output.append(mo.md("**All steps are done.**"))
    return


if __name__ == "__main__":
    app.run()
