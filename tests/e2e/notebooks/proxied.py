import marimo

__generated_with = "0.23.8"
app = marimo.App()


@app.cell
def _():
    import marimo as mo

    number = mo.ui.slider(0, 10, label="Number")
    upload = mo.ui.file(label="Upload")
    large = mo.download(b"large" * 1_000_000, filename="large.bin", label="Large")
    mo.vstack([number, upload, large])
    return mo, number, upload


@app.cell
def _(mo, number, upload):
    sizes = [len(file.contents) for file in upload.value]
    mo.md(f"number {number.value} uploaded {sizes} end")
    return


if __name__ == "__main__":
    app.run()
