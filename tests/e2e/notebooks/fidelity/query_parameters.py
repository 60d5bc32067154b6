import marimo

__generated_with = "0.23.8"
app = marimo.App()

@app.cell
def _():
    import marimo as mo

    return (mo,)


@app.cell
def _(mo):
    parameters = mo.query_params()
    turn = mo.ui.button(label="Turn", on_click=lambda _: parameters.set("page", "2"))
    more = mo.ui.button(label="More", on_click=lambda _: parameters.append("colour", "green"))
    mo.vstack([turn, more])
    return (parameters,)


@app.cell
def _(mo, parameters):
    mo.plain_text(f"parameters {parameters.to_dict()} end")
    return


if __name__ == "__main__":
    app.run()
