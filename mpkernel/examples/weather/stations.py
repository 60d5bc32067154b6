# /// script
# [tool.marimo.opengraph]
# title = "Mountain weather"
# description = "Another app with another utils.py: the two modules never meet."
# image = "__marimo__/stations.svg"
# ///
import marimo

__generated_with = "0.23.8"
app = marimo.App(width="medium", app_title="Mountain weather")


@app.cell
def _():
    import os
    from pathlib import Path

    import marimo as mo
    import utils

    return Path, mo, os, utils


@app.cell
def _(Path, mo, os, utils):
    mo.md(f"""
    # {utils.TITLE}

    A station and a number of days choose what the plot and the table show.
    This app runs in process **{os.getpid()}** and took its `utils` from the folder
    **{Path(utils.__file__).parent.name}**; the sales app has another of both.
    """)
    return


@app.cell
def _(mo, utils):
    station = mo.ui.dropdown(list(utils.STATIONS), value="Saddle", label="Station")
    days = mo.ui.slider(2, 7, value=4, label="Days", show_value=True)
    mo.hstack([station, days], justify="start", gap=2)
    return days, station


@app.cell
def _(days, station, utils):
    celsius = utils.temperatures(station.value, days.value)
    return (celsius,)


@app.cell
def _(celsius, days, mo, station, utils):
    metres, _, _ = utils.STATIONS[station.value]
    mo.vstack(
        [
            mo.md(f"**{station.value}** at {metres:,} m over **{days.value}** days"),
            mo.hstack(
                [
                    mo.stat(f"{min(celsius):.1f} °C", label="Coldest", bordered=True),
                    mo.stat(f"{sum(celsius) / len(celsius):.1f} °C", label="Mean", bordered=True),
                    mo.stat(f"{max(celsius):.1f} °C", label="Warmest", bordered=True),
                ],
                widths="equal",
            ),
        ]
    )
    return


@app.cell
def _(celsius, mo, station, utils):
    mo.Html(utils.line_chart(station.value, celsius))
    return


@app.cell
def _(celsius, mo, station, utils):
    mo.ui.table(utils.summary(station.value, celsius), selection=None, show_download=False)
    return


if __name__ == "__main__":
    app.run()
