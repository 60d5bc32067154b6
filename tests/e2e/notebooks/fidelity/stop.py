import marimo

__generated_with = "0.23.8"
app = marimo.App()

@app.cell
def _():
    import marimo as mo

    ready = mo.ui.checkbox(label="Ready")
    ready
    return mo, ready


@app.cell
def _(mo, ready):
    mo.stop(not ready.value, mo.plain_text("not ready"))
    answer = 42
    mo.plain_text("ready")
    return (answer,)


@app.cell
def _(answer, mo):
    mo.plain_text(f"the answer is {answer}")
    return


if __name__ == "__main__":
    app.run()
