import marimo

__generated_with = "0.23.8"
app = marimo.App()


@app.cell
def _():
    import hashlib
    import os

    import marimo as mo

    return hashlib, mo, os


@app.cell
def _(mo):
    number = mo.ui.slider(0, 1000, value=1, label="Number")
    number
    return (number,)


@app.cell
def _(hashlib, mo, number, os):
    print(f"number {number.value}")
    pixels = hashlib.shake_128(str(number.value).encode()).digest(4096) * 64
    picture = mo.image(b"\x89PNG\r\n\x1a\n" + pixels)
    mo.vstack([mo.md(f"number {number.value} in process {os.getpid()}."), picture])
    return


if __name__ == "__main__":
    app.run()
