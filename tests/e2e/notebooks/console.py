import marimo

__generated_with = "0.23.8"
app = marimo.App()


@app.cell
def _():
    import sys
    import threading

    import marimo as mo

    return mo, sys, threading


@app.cell
def _(mo):
    token = mo.query_params().get("token", "nobody")
    number = mo.ui.slider(0, 9, value=0, label="Number")
    mo.hstack([mo.md(f"tab of {token}"), number])
    return number, token


@app.cell
def _(number, sys, token):
    print(f"cell of {token} prints {number.value}")
    print(f"cell of {token} complains {number.value}", file=sys.stderr)
    return


@app.cell
def _(mo, number, threading, token):
    _thread = threading.Thread(
        target=print, args=(f"thread of {token} prints {number.value}",)
    )
    _thread.start()
    _thread.join()
    mo.md(f"thread of {token} done with {number.value}")
    return


if __name__ == "__main__":
    app.run()
