import marimo

__generated_with = "0.23.8"
app = marimo.App()

@app.cell
def _():
    import marimo as mo

    begin = mo.ui.run_button(label="Begin")
    begin
    return begin, mo


@app.cell
def _(mo):
    mo.output.append(mo.plain_text("replaced line"))
    mo.output.replace(mo.plain_text("first line"))
    mo.output.append(mo.plain_text("second line"))
    mo.output.replace_at_index(mo.plain_text("third line"), 1)
    return


@app.cell
def _(mo):
    mo.output.append(mo.plain_text("cleared line"))
    mo.output.clear()
    return


@app.cell
def _(begin, mo):
    mo.stop(not begin.value)

    def work(number):
        for part in range(5):
            mo.output.append(mo.plain_text(f"part {number}.{part}"))

    threads = [mo.Thread(target=work, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    mo.output.append(mo.plain_text("parts end"))
    return


@app.cell
def _(begin, mo):
    mo.stop(not begin.value)

    def late():
        for part in range(3):
            mo.output.append(mo.plain_text(f"late {part}"))

    mo.Thread(target=late).start()
    return


if __name__ == "__main__":
    app.run()
