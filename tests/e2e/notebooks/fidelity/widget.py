import marimo

__generated_with = "0.23.8"
app = marimo.App()

@app.cell
def _():
    import anywidget
    import marimo as mo
    import traitlets

    class Counter(anywidget.AnyWidget):
        _esm = """
        export default {
          render({ model, el }) {
            const show = (text) => (el.querySelector("p").textContent = text);
            el.innerHTML = "<button>Up</button><button>Ask</button><p></p>";
            const [up, ask] = el.querySelectorAll("button");
            up.onclick = () => {
              model.set("count", model.get("count") + 1);
              model.save_changes();
            };
            ask.onclick = () => model.send({ question: model.get("count") });
            model.on("change:count", () => show(`widget counts ${model.get("count")}`));
            model.on("msg:custom", (message, buffers) => {
              const bytes = new Uint8Array(buffers[0].buffer ?? buffers[0]);
              show(`kernel answers ${message.answer} with ${bytes.length} bytes`);
            });
            show("widget is there");
          },
        };
        """
        count = traitlets.Int(0).tag(sync=True)

        def __init__(self):
            super().__init__()
            self.on_msg(self.answer)

        def answer(self, widget, content, buffers):
            self.send({"answer": content["question"] * 100}, buffers=[bytes(5)])

    counter = mo.ui.anywidget(Counter())
    counter
    return counter, mo


@app.cell
def _(counter, mo):
    def reset(_):
        counter.widget.count = 40

    start = mo.ui.button(label="Set to 40", on_click=reset)
    start
    return


@app.cell
def _(counter, mo):
    mo.plain_text(f"kernel counts {counter.value['count']} end")
    return


if __name__ == "__main__":
    app.run()
