import marimo

__generated_with = "0.23.8"
app = marimo.App()


@app.cell
def _():
    import os

    import marimo as mo

    return mo, os


@app.cell
def _(mo):
    number = mo.ui.slider(0, 1000, value=1, label="Number")
    number
    return (number,)


@app.cell
def _(mo, number, os):
    mo.md(f"number {number.value} squared is {number.value ** 2} in process {os.getpid()}")
    return


if __name__ == "__main__":
    app.run()
