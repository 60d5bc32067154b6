import marimo

__generated_with = "0.23.8"
app = marimo.App()

@app.cell
def _():
    import marimo as mo

    return (mo,)


@app.cell
def _():
    def broken(number):
        return number / 0

    broken(7)
    return


if __name__ == "__main__":
    app.run()
