import marimo

__generated_with = "0.23.8"
app = marimo.App()

@app.cell
def _():
    import marimo as mo
    import pandas as pd

    numbers = range(1, 1001)
    table = mo.ui.table(
        pd.DataFrame({"number": numbers, "name": [f"name-{n}" for n in numbers]}),
        page_size=10,
        label="Numbers",
    )
    table
    return mo, table


@app.cell
def _(mo, table):
    mo.plain_text(f"selected {table.value['number'].tolist()} end")
    return


if __name__ == "__main__":
    app.run()
