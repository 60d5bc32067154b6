# /// script
# dependencies = ["marimo", "humanize==4.9.0"]
#
# [tool.marimo.opengraph]
# title = "A sandbox with an old package"
# description = "humanize 4.9.0, in an environment of its own: mpkernel run --examples --sandbox"
# image = "__marimo__/old.svg"
# ///
import marimo

__generated_with = "0.23.8"
app = marimo.App(width="medium", app_title="A sandbox with an old package")


@app.cell
def _():
    import importlib.metadata
    import sys

    import marimo as mo

    return importlib, mo, sys


@app.cell
def _(importlib, mo, sys):
    try:
        version = importlib.metadata.version("humanize")
    except importlib.metadata.PackageNotFoundError:
        version = None
    says = (
        f"This app has humanize **{version}**, in the environment `{sys.prefix}`."
        if version == "4.9.0"
        else "Start the examples with `mpkernel run --examples --sandbox`: this app shares the"
        " packages of the server, and its own are missing."
    )
    mo.md(f"""
    # A sandbox with an old package

    The header of this app names **humanize==4.9.0**. The app `new.py` names another version. With
    `--sandbox`, uv makes an environment for each of them.

    {says}
    """)
    return


if __name__ == "__main__":
    app.run()
