import marimo

__generated_with = "0.23.8"
app = marimo.App()


@app.cell
def _():
    import hashlib
    import io
    import sys
    from pathlib import Path

    import marimo as mo
    import matplotlib.pyplot as plt
    import numpy as np
    import pandas as pd

    return Path, hashlib, io, mo, np, pd, plt, sys


@app.cell
def _(mo, pd):
    numbers = range(1, 1001)
    number = mo.ui.slider(0, 10)
    table = mo.ui.table(
        pd.DataFrame({"number": numbers, "name": [f"name-{n}" for n in numbers]}), page_size=10
    )
    explorer = mo.ui.data_explorer(pd.DataFrame({"height": [1, 2, 3], "weight": [4, 5, 6]}))
    upload = mo.ui.file(kind="area")
    begin = mo.ui.run_button(label="Begin")
    elements = {
        "Number": number,
        "Table": table,
        "Explorer": explorer,
        "Upload": upload,
        "Progress": begin,
    }
    mo.Html(
        "".join(
            f'<section aria-label="{name}">{mo.as_html(element).text}</section>'
            for name, element in elements.items()
        )
    )
    return begin, explorer, number, table, upload


@app.cell
def _(Path, mo):
    mo.plain_text(f"beside {Path('pyproject.toml').is_file()} end")
    return


@app.cell
def _(explorer, mo, number, table):
    mo.plain_text(
        f"number {number.value} selected {table.value['number'].tolist()}"
        f" explored {explorer.value} end"
    )
    return


@app.cell
def _(number, sys):
    print(f"cell complains about {number.value}", file=sys.stderr)
    return


@app.cell
def _(hashlib, io, mo, np, number, plt):
    noise = np.random.default_rng(number.value).integers(0, 256, (800, 800, 3), dtype=np.uint8)
    figure, axes = plt.subplots(figsize=(10, 10))
    axes.imshow(noise)
    file = io.BytesIO()
    figure.savefig(file)
    plt.close(figure)
    content = file.getvalue()
    mo.vstack(
        [
            mo.plain_text(f"noise {number.value} {hashlib.sha256(content).hexdigest()} end"),
            mo.image(content, alt=f"Noise {number.value}"),
            mo.download(content, filename="noise.png", label="Save"),
        ]
    )
    return


@app.cell
def _(hashlib, mo, upload):
    names = [given.name for given in upload.value]
    sums = [hashlib.sha256(given.contents).hexdigest() for given in upload.value]
    mo.plain_text(f"uploaded {names} {sums} end")
    return


@app.cell
def _(begin, mo):
    mo.stop(not begin.value)
    steps = mo.status.progress_bar(range(4), title="Working", completion_title="Worked")
    for _ in steps:
        pass
    return


if __name__ == "__main__":
    app.run()
