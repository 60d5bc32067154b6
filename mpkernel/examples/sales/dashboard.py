# /// script
# [tool.marimo.opengraph]
# title = "Lantern sales"
# description = "One slider drives a plot, a table and a file. Its module utils.py is its own."
# image = "__marimo__/dashboard.svg"
# ///
import marimo

__generated_with = "0.23.8"
app = marimo.App(width="medium", app_title="Lantern sales")


@app.cell
def _():
    import os
    from pathlib import Path

    import marimo as mo
    import utils

    return Path, mo, os, utils


@app.cell
def _(Path, mo, os, utils):
    mo.md(f"""
    # {utils.TITLE}

    One slider drives the text, the plot, the table and the file behind the button.
    This app runs in process **{os.getpid()}** and took its `utils` from the folder
    **{Path(utils.__file__).parent.name}**; the weather app has another of both.
    """)
    return


@app.cell
def _(mo):
    months = mo.ui.slider(2, 12, value=9, label="Months", show_value=True)
    months
    return (months,)


@app.cell
def _(months, utils):
    rows = utils.monthly_sales(months.value)
    return (rows,)


@app.cell
def _(mo, rows):
    first, last = rows[0]["month"], rows[-1]["month"]
    total = sum(row["revenue"] for row in rows)
    best = max(rows, key=lambda row: row["revenue"])
    mo.vstack(
        [
            mo.md(f"**{first} to {last}**: {len(rows)} months, {total:,} €"),
            mo.hstack(
                [
                    mo.stat(f"{total:,} €", label="Revenue", bordered=True),
                    mo.stat(sum(row["lanterns"] for row in rows), label="Lanterns", bordered=True),
                    mo.stat(best["month"], label="Best month", bordered=True),
                ],
                widths="equal",
            ),
        ]
    )
    return


@app.cell
def _(mo, rows, utils):
    mo.Html(utils.bar_chart(rows))
    return


@app.cell
def _(mo, rows):
    mo.ui.table(rows, selection=None, page_size=6, show_download=False)
    return


@app.cell
def _(mo, rows, utils):
    mo.download(utils.to_csv(rows), "sales.csv", "text/csv", label="Download as CSV")
    return


if __name__ == "__main__":
    app.run()
