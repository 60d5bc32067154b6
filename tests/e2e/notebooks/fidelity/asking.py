import marimo

__generated_with = "0.23.8"
app = marimo.App()

@app.cell
def _():
    import marimo as mo

    mo.plain_text(f"the answer is {input('What is your name? ')}")
    return


if __name__ == "__main__":
    app.run()
