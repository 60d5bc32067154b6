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
    frame = mo.ui.slider(0, 10_000, value=0, label="Frame")
    frame
    return (frame,)


@app.cell
def _(frame, hashlib, mo):
    # As large as a plot with many points, and different for each frame; the last one is larger.
    pages = 1024 if frame.value < 10_000 else 12_288
    pixels = hashlib.shake_128(str(frame.value).encode()).digest(4096) * pages
    plot = mo.image(b"\x89PNG\r\n\x1a\n" + pixels)
    mo.vstack([mo.md(f"frame {frame.value} end"), plot])
    return


if __name__ == "__main__":
    app.run()
