import marimo

__generated_with = "0.23.8"
app = marimo.App()

@app.cell
def _():
    import marimo as mo

    get_factor, set_factor = mo.state(2)
    slider = mo.ui.slider(0, 10, value=1, label="Inner")
    slider
    return get_factor, mo, set_factor, slider


@app.cell
def _(get_factor, mo, slider):
    product = slider.value * get_factor()
    mo.plain_text(f"inner product {product} end")
    return (product,)


@app.cell
def _(mo, set_factor):
    double = mo.ui.button(label="Double", on_click=lambda _: set_factor(lambda f: 2 * f))
    double
    return


if __name__ == "__main__":
    app.run()
