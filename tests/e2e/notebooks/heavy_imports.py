import marimo

app = marimo.App()


@app.cell
def _():
    begun = True
    "begun"
    return (begun,)


@app.cell
def _(begun):
    assert begun
    import os
    import numpy as np
    import pandas as pd
    import polars as pl
    import matplotlib
    import matplotlib.pyplot as plt

    return matplotlib, np, os, pd, pl, plt


@app.cell
def _(matplotlib, np, os, pd, pl, plt):
    sums = (
        int(np.arange(4).sum()),
        int(pd.DataFrame({"a": [1, 2, 3]})["a"].sum()),
        int(pl.DataFrame({"a": [1, 2, 3]})["a"].sum()),
    )
    figure, axes = plt.subplots()
    axes.plot([1, 2])
    figure.canvas.draw()
    plt.close(figure)
    whole = os.path.isdir(matplotlib.get_data_path())
    f"{sums} {whole} in process {os.getpid()} end"
    return


if __name__ == "__main__":
    app.run()
