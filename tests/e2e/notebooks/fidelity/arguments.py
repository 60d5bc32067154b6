import marimo

__generated_with = "0.23.8"
app = marimo.App()

@app.cell
def _():
    import sys

    import marimo as mo

    mo.plain_text(f"arguments {mo.cli_args().to_dict()} and {sys.argv[1:]} end")
    return


if __name__ == "__main__":
    app.run()
