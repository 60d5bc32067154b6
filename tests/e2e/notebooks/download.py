import marimo

__generated_with = "0.23.8"
app = marimo.App()


@app.cell
def _():
    import hashlib

    import marimo as mo

    return hashlib, mo


@app.cell
def _(mo):
    mebibytes = mo.ui.slider(1, 64, value=1, label="MiB")
    mebibytes
    return (mebibytes,)


@app.cell
def _(hashlib, mebibytes, mo):
    content = hashlib.shake_128(b"content").digest(1 << 20) * mebibytes.value
    mo.vstack(
        [
            mo.md(f"{len(content)} bytes, sha256 {hashlib.sha256(content).hexdigest()}"),
            mo.download(content, "content.bin", "application/octet-stream", label="Content"),
        ]
    )
    return


if __name__ == "__main__":
    app.run()
