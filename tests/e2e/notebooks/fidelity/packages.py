# /// script
# dependencies = ["marimo", "tiny"]
#
# [tool.uv.sources]
# tiny = { path = "tiny-1.0-py3-none-any.whl" }
# ///
import marimo

app = marimo.App()


@app.cell
def _():
    import marimo as mo
    import tiny

    slider = mo.ui.slider(0, 10, label="Number")
    slider
    return mo, slider, tiny


@app.cell
def _(mo, slider, tiny):
    mo.plain_text(f"tiny {tiny.VERSION} number {slider.value} end")
    return


if __name__ == "__main__":
    app.run()
