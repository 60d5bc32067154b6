import marimo

__generated_with = "0.23.8"
app = marimo.App()


@app.cell
def _():
    import os

    import anywidget
    import ipywidgets
    import marimo as mo
    import traitlets

    return anywidget, ipywidgets, mo, os, traitlets


@app.cell
def _(anywidget, traitlets):
    class Shown(anywidget.AnyWidget):
        _esm = "export default { render({ model, el }) { el.textContent = model.get('count'); } }"
        count = traitlets.Int(0).tag(sync=True)

    shown = Shown()
    shown
    return (shown,)


@app.cell
def _(ipywidgets):
    unseen = ipywidgets.IntSlider(value=0)
    return (unseen,)


@app.cell
def _(mo):
    look = mo.ui.button(label="Look", value=0, on_click=lambda value: value + 1)
    look
    return (look,)


@app.cell
def _(look, mo, os, shown, unseen):
    mo.md(f"{look.value}: {shown.count} and {unseen.value} in process {os.getpid()} end")
    return


if __name__ == "__main__":
    app.run()
