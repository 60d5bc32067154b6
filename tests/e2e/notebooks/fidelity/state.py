import marimo

__generated_with = "0.23.8"
app = marimo.App()

@app.cell
def _():
    import marimo as mo

    get_count, set_count = mo.state(0)
    get_steps, set_steps = mo.state([])
    return get_count, get_steps, mo, set_count, set_steps


@app.cell
def _(mo, set_count, set_steps):
    def work():
        for step in range(3):
            set_steps(lambda steps, step=step: [*steps, step])

    def start(_):
        mo.Thread(target=work).start()

    add = mo.ui.button(label="Add", on_click=lambda _: set_count(lambda count: count + 1))
    begin = mo.ui.button(label="Start", on_click=start)
    mo.hstack([add, begin])
    return


@app.cell
def _(get_count, get_steps, mo):
    mo.plain_text(f"count {get_count()} steps {get_steps()} end")
    return


@app.cell
def _(get_count, mo, set_count):
    again = mo.ui.slider(0, 10, value=get_count(), on_change=set_count, label="Count")
    again
    return


if __name__ == "__main__":
    app.run()
