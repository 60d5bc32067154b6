import marimo

__generated_with = "0.23.8"
app = marimo.App()

@app.cell
def _():
    import os
    import threading
    from pathlib import Path

    import marimo as mo

    def wait(kernel=threading.current_thread(), folder=Path(mo.query_params()["folder"])):
        (folder / "began").write_text(str(os.getpid()))
        kernel.join()
        (folder / "ended").touch()

    threading.Thread(target=wait, daemon=True).start()
    slider = mo.ui.slider(0, 10, label="Number")
    slider
    return mo, slider


@app.cell
def _(mo, slider):
    mo.plain_text(f"number {slider.value} end")
    return


if __name__ == "__main__":
    app.run()
