import marimo

__generated_with = "0.23.8"
app = marimo.App()


@app.cell
def _():
    import marimo as mo
    import matplotlib.pyplot as plt
    import pandas as pd

    return mo, pd, plt


@app.cell
def _(mo):
    points = mo.ui.slider(2, 50, value=5, label="Points")
    points
    return (points,)


@app.cell
def _(pd, points):
    squares = pd.DataFrame({"x": range(points.value)})
    squares["y"] = squares["x"] ** 2
    return (squares,)


@app.cell
def _(mo, squares):
    mo.md(f"the last of {len(squares)} squares is {squares['y'].iloc[-1]}")
    return


@app.cell
def _(plt, squares):
    figure, _axes = plt.subplots(figsize=(6, 3))
    _axes.plot(squares["x"], squares["y"], marker="o")
    figure
    return


@app.cell
def _(mo, squares):
    mo.ui.table(squares, selection=None)
    return


if __name__ == "__main__":
    app.run()
