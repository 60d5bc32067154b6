import marimo

__generated_with = "0.23.8"
app = marimo.App()

@app.cell
def _():
    import marimo as mo

    async def late():
        return b"made when asked"

    mo.vstack(
        [
            mo.download(b"at once", filename="once.txt", label="At once"),
            mo.download(late, filename="late.txt", label="When asked"),
            mo.download(bytes(300_000), filename="large.bin", label="Large"),
        ]
    )
    return


if __name__ == "__main__":
    app.run()
