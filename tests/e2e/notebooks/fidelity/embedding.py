import marimo

__generated_with = "0.23.8"
app = marimo.App()

@app.cell
def _():
    import marimo as mo
    from embedded import app as inner

    twin = inner.clone()
    return inner, mo, twin


@app.cell
async def _(inner):
    embedded = await inner.embed()
    embedded.output
    return (embedded,)


@app.cell
def _(embedded, mo):
    mo.plain_text(f"outer sees {embedded.defs['product']} end")
    return


@app.cell
async def _(mo, twin):
    other = await twin.embed()
    mo.accordion({"Clone": other.output})
    return


if __name__ == "__main__":
    app.run()
