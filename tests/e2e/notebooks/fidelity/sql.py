import marimo

__generated_with = "0.23.8"
app = marimo.App()

@app.cell
def _():
    import marimo as mo
    import pandas as pd

    people = pd.DataFrame({"name": ["Ada", "Bo", "Cy", "Di"], "age": [36, 12, 65, 41]})
    least = mo.ui.slider(0, 100, value=20, label="Least age")
    least
    return least, mo, people


@app.cell
def _(least, mo, people):
    older = mo.sql(f"SELECT name, age FROM people WHERE age > {least.value} ORDER BY age")
    return (older,)


@app.cell
def _(mo):
    made = mo.sql("CREATE OR REPLACE TABLE squares AS SELECT range AS n, n * n AS square FROM range(5)")
    return (made,)


@app.cell
def _(made, mo):
    largest = mo.sql("SELECT max(square) AS largest FROM squares", output=False)
    return (largest,)


@app.cell
def _(largest, mo, older):
    mo.plain_text(f"older {older['name'].to_list()} largest {largest['largest'].to_list()} end")
    return


if __name__ == "__main__":
    app.run()
