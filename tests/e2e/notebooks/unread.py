import marimo

__generated_with = "0.23.8"
app = marimo.App()


@app.cell
def _():
    import marimo as mo

    return (mo,)


@app.cell
def _(mo):
    frames = mo.ui.slider(0, 100_000, value=0, label="Frames")
    lines = mo.ui.slider(0, 1_000_000, value=0, label="Lines")
    mo.hstack([mo.md("ready"), frames, lines])
    return frames, lines


@app.cell
def _(frames, mo):
    for _frame in range(frames.value):
        mo.output.replace(mo.Html(f"<!--{'x' * 1_000_000}--> frame {_frame}"))
    if frames.value:
        mo.output.replace(mo.md(f"shown all {frames.value} frames"))
    return


@app.cell
def _(lines, mo):
    for _line in range(lines.value):
        print("x" * 10_000)
    mo.md(f"printed {lines.value} lines")
    return


if __name__ == "__main__":
    app.run()
