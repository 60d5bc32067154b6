import marimo

__generated_with = "0.23.8"
app = marimo.App()


@app.cell
def _():
    import os

    import marimo as mo

    return mo, os


@app.cell
def _(mo):
    number = mo.ui.slider(0, 1_000_000, value=1, label="Number")
    number
    return (number,)


@app.cell
def _(mo):
    flood = mo.ui.slider(0, 1_000_000, value=0, label="Flood")
    flood
    return (flood,)


@app.cell
def _(mo, number, os):
    mo.md(f"number {number.value} in process {os.getpid()}")
    return


@app.cell
def _(flood, mo):
    for step in range(flood.value):
        mo.output.replace(f"step {step}")
    mo.output.replace(f"flood {flood.value} over")
    return


@app.cell
def _(mo):
    file = mo.ui.slider(0, 1_000_000, value=0, label="File")
    file
    return (file,)


@app.cell
def _(file, mo, os):
    content = os.urandom(1024) * file.value
    mo.output.append(mo.download(content, filename="file.bin") if content else "no file")
    mo.output.append(f"file of {file.value} KiB")
    return


@app.cell
def _(mo):
    work = mo.ui.slider(0, 1_000_000, value=0, label="Work")
    work
    return (work,)


@app.cell
def _(mo, work):
    for _ in range(1000 * work.value):
        pass
    mo.output.replace(f"work {work.value} over")
    return


@app.cell
def _(mo):
    lines = mo.ui.slider(0, 1_000_000, value=0, label="Lines")
    lines
    return (lines,)


@app.cell
def _(lines, mo):
    for line in range(lines.value):
        print("line", line)
    mo.output.replace(f"printed {lines.value} lines")
    return


@app.cell
def _(mo):
    rows = mo.ui.slider(0, 10_000_000, value=0, label="Rows")
    rows
    return (rows,)


@app.cell
def _(mo, rows):
    columns = {"number": list(range(rows.value)), "square": [n * n for n in range(rows.value)]}
    table = mo.ui.table(columns, page_size=100) if rows.value else None
    mo.output.replace(mo.vstack([table, f"table of {rows.value} rows"]))
    return (table,)


if __name__ == "__main__":
    app.run()
