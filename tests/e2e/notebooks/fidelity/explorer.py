import marimo

__generated_with = "0.23.8"
app = marimo.App()

@app.cell
def _():
    import marimo as mo
    import pandas as pd

    explorer = mo.ui.data_explorer(pd.DataFrame({"height": [1, 2, 3], "weight": [4, 5, 6]}))
    explorer
    return explorer, mo


@app.cell
def _(explorer, mo):
    mo.plain_text(f"explored {explorer.value} end")
    return


if __name__ == "__main__":
    app.run()
