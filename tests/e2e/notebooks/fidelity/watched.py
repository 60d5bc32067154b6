import marimo

__generated_with = "0.23.8"
app = marimo.App()

@app.cell
def _():
    import marimo as mo

    slider = mo.ui.slider(0, 10, label="Number")
    slider
    return mo, slider


@app.cell
def _(mo, slider):
    mo.plain_text(f"version 1 number {slider.value} end")
    return


if __name__ == "__main__":
    app.run()
