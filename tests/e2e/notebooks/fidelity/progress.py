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
def _(begin, mo):
    mo.stop(not begin.value)

    def work(number):
        steps = mo.status.progress_bar(
            range(4), title=f"Bar {number}", completion_title=f"Bar {number} done"
        )
        for _ in steps:
            pass

    threads = [mo.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return


@app.cell
def _(begin, mo):
    mo.stop(not begin.value)
    with mo.status.spinner(title="Turning", remove_on_exit=False) as spinner:
        spinner.update(title="Turned", subtitle="all round")
    return


@app.cell
def _(begin, mo):
    mo.stop(not begin.value)
    with mo.status.progress_bar(total=8, title="By hand", remove_on_exit=False) as bar:
        for _ in range(5):
            bar.update()
    return


if __name__ == "__main__":
    app.run()
