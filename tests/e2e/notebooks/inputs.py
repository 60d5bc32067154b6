import marimo

__generated_with = "0.23.8"
app = marimo.App()


@app.cell
def _():
    import os

    import anywidget
    import marimo as mo
    import traitlets

    class Counter(anywidget.AnyWidget):
        _esm = """
        export default {
          render({ model, el }) {
            const button = document.createElement("button");
            const show = () => (button.textContent = `Count ${model.get("count")}`);
            button.onclick = () => {
              model.set("count", model.get("count") + 1);
              model.save_changes();
            };
            model.on("change:count", show);
            show();
            el.append(button);
          },
        };
        """
        count = traitlets.Int(0).tag(sync=True)

    return Counter, mo, os


@app.cell
def _(Counter, mo):
    def slider():
        return mo.ui.slider(0, 10)

    single = slider()
    several = mo.ui.array([slider(), slider()])
    named = mo.ui.dictionary({"one": slider(), "more": mo.ui.array([slider()])})
    batch = mo.md("{first} {second}").batch(first=slider(), second=slider())
    form = mo.md("{inner}").batch(inner=slider()).form()
    plus = mo.ui.button(value=0, on_click=lambda value: value + 1, label="Plus")
    counter = mo.ui.anywidget(Counter())
    mo.vstack([single, several, named, batch, form, plus, counter])
    return batch, counter, form, named, plus, several, single


@app.cell
def _(batch, counter, form, mo, named, os, plus, several, single):
    values = [single, several, named, batch, form, plus]
    shown = "; ".join(str(element.value) for element in values)
    mo.plain_text(f"{shown}; {counter.value['count']} in process {os.getpid()} end")
    return


if __name__ == "__main__":
    app.run()
