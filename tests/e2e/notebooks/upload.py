import marimo

__generated_with = "0.23.8"
app = marimo.App()


@app.cell
def _():
    import os

    import marimo as mo

    upload = mo.ui.file(label="Upload", max_size=400_000_000)
    upload
    return mo, os, upload


@app.cell
def _(mo, os, upload):
    shown = [(file.name, len(file.contents), file.contents[:3]) for file in upload.value]
    mo.plain_text(f"has {shown} in process {os.getpid()} end")
    return


if __name__ == "__main__":
    app.run()
