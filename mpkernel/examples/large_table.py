# /// script
# [tool.marimo.opengraph]
# title = "A large table and a download"
# description = "50,000 rows to page and search, and a file of megabytes that goes through shared memory."
# image = "__marimo__/large_table.svg"
# ///
import marimo

__generated_with = "0.23.8"
app = marimo.App(width="medium", app_title="A large table and a download")


@app.cell
def _():
    import math

    import marimo as mo

    return math, mo


@app.cell
def _(mo):
    mo.md("""
    # A large table and a download

    The rows stay in the app's process: the page asks for those that it shows. The file is made when
    the button is pressed. Its bytes lie in shared memory, and the server sends them from there.
    """)
    return


@app.cell
def _(math):
    ROWS = 50_000
    columns = {
        "number": list(range(ROWS)),
        "square": [number * number for number in range(ROWS)],
        "sine": [round(math.sin(number / 100), 4) for number in range(ROWS)],
    }
    return ROWS, columns


@app.cell
def _(columns, mo):
    mo.ui.table(columns, selection=None, page_size=8, show_download=False)
    return


@app.cell
def _(ROWS, columns, mo):
    def as_csv():
        lines = [",".join(columns), *(",".join(map(str, row)) for row in zip(*columns.values()))]
        return "\n".join(lines).encode()

    mo.download(as_csv, "numbers.csv", "text/csv", label=f"Download all {ROWS:,} rows")
    return


if __name__ == "__main__":
    app.run()
