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
    words = mo.ui.slider(0, 100_000_000, value=0, label="Words")
    number = mo.ui.slider(0, 1000, value=1, label="Number")
    mo.hstack([mo.md("ready"), frames, lines, words, number])
    return frames, lines, number, words


@app.cell
def _(mo, number):
    mo.md(f"number {number.value} squared is {number.value**2}")
    return


@app.cell
def _(frames, mo):
    for _frame in range(frames.value):
        mo.output.replace(mo.Html(f"<!--{'x' * 1_000_000}--> frame {_frame}"))
    if frames.value:
        print(f"sent all {frames.value} frames")
        mo.output.replace(mo.md(f"shown all {frames.value} frames"))
    return


@app.cell
def _(lines, mo):
    for _line in range(lines.value):
        print("x" * 10_000)
    mo.md(f"printed {lines.value} lines")
    return


@app.cell
def _(mo, words):
    for _word in range(words.value):
        mo.output.replace(_word)
    mo.md(f"shown {words.value} words")
    return


if __name__ == "__main__":
    app.run()
