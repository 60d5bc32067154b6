import marimo

__generated_with = "0.23.8"
app = marimo.App()

@app.cell
def _():
    import datetime
    import io
    import json
    from pathlib import Path

    import altair
    import anywidget
    import marimo as mo
    import matplotlib.pyplot
    import pandas as pd
    import panel
    import plotly.express
    import traitlets

    panel.extension(inline=True)
    return (
        Path,
        altair,
        anywidget,
        datetime,
        io,
        json,
        matplotlib,
        mo,
        panel,
        pd,
        plotly,
        traitlets,
    )


@app.cell
def _(anywidget, traitlets):
    class Counter(anywidget.AnyWidget):
        _esm = """
        export default {
          render({ model, el }) {
            const button = document.createElement("button");
            button.textContent = "Count";
            button.onclick = () => {
              model.set("count", model.get("count") + 1);
              model.save_changes();
            };
            el.append(button);
          },
        };
        """
        count = traitlets.Int(0).tag(sync=True)

    return (Counter,)


@app.cell
def _(Counter, Path, altair, matplotlib, mo, panel, pd, plotly):
    points = pd.DataFrame({"x": [1, 2, 3, 4], "y": [1, 4, 9, 16]})
    pane = panel.widgets.Checkbox(name="Pane")

    def small():
        return mo.ui.slider(0, 10)

    def figure():
        axes = matplotlib.pyplot.figure(figsize=(2, 2)).add_subplot()
        axes.scatter(points["x"], points["y"])
        return axes

    altair_chart = mo.ui.altair_chart(altair.Chart(points).mark_point().encode(x="x", y="y"))
    counter = mo.ui.anywidget(Counter())
    array = mo.ui.array([small(), small()])
    batch = mo.md("{first} {second}").batch(first=small(), second=small())
    button = mo.ui.button(value=0, on_click=lambda value: value + 1, label="Plus")
    chat = mo.ui.chat(lambda messages: f"You said {messages[-1].content}")
    checkbox = mo.ui.checkbox(label="Check")
    code_editor = mo.ui.code_editor("one = 1")
    data_editor = mo.ui.data_editor(points)
    data_explorer = mo.ui.data_explorer(points)
    dataframe = mo.ui.dataframe(points)
    date = mo.ui.date(value="2024-01-01")
    date_range = mo.ui.date_range(value=("2024-01-01", "2024-01-31"))
    moment = mo.ui.datetime(value="2024-01-01T10:00")
    dictionary = mo.ui.dictionary({"one": small(), "more": mo.ui.array([small()])})
    dropdown = mo.ui.dropdown(["red", "green", "blue"])
    experimental = mo.ui.experimental_data_editor([{"a": 1}, {"a": 2}])
    file = mo.ui.file(kind="area")
    file_browser = mo.ui.file_browser(Path(__file__).parent, multiple=False)
    form = mo.md("{inner}").batch(inner=small()).form()
    chosen = mo.ui.matplotlib(figure())
    matrix = mo.ui.matrix([[1, 0], [0, 1]])
    microphone = mo.ui.microphone()
    multiselect = mo.ui.multiselect(["red", "green", "blue"])
    number = mo.ui.number(0, 100)
    wrapped = mo.ui.panel(pane)
    plot = mo.ui.plotly(plotly.express.scatter(points, x="x", y="y"))
    radio = mo.ui.radio(["red", "green", "blue"])
    range_slider = mo.ui.range_slider(0, 10, value=[2, 8])
    refresh = mo.ui.refresh(options=["1h"])
    run_button = mo.ui.run_button(label="Run")
    slider = small()
    switch = mo.ui.switch(label="Switch")
    table = mo.ui.table(points)
    tabs = mo.ui.tabs({"First": "one", "Second": "two"})
    text = mo.ui.text()
    text_area = mo.ui.text_area()
    return (
        altair_chart,
        array,
        batch,
        button,
        chat,
        checkbox,
        chosen,
        code_editor,
        counter,
        data_editor,
        data_explorer,
        dataframe,
        date,
        date_range,
        dictionary,
        dropdown,
        experimental,
        file,
        file_browser,
        form,
        matrix,
        microphone,
        moment,
        multiselect,
        number,
        pane,
        plot,
        radio,
        range_slider,
        refresh,
        run_button,
        slider,
        switch,
        table,
        tabs,
        text,
        text_area,
        wrapped,
    )


@app.cell
def _(
    altair_chart,
    array,
    batch,
    button,
    chat,
    checkbox,
    chosen,
    code_editor,
    counter,
    data_editor,
    data_explorer,
    dataframe,
    date,
    date_range,
    dictionary,
    dropdown,
    experimental,
    file,
    file_browser,
    form,
    matrix,
    microphone,
    mo,
    moment,
    multiselect,
    number,
    plot,
    radio,
    range_slider,
    refresh,
    run_button,
    slider,
    switch,
    table,
    tabs,
    text,
    text_area,
    wrapped,
):
    elements = {
        "altair_chart": altair_chart,
        "anywidget": counter,
        "array": array,
        "batch": batch,
        "button": button,
        "chat": chat,
        "checkbox": checkbox,
        "code_editor": code_editor,
        "data_editor": data_editor,
        "data_explorer": data_explorer,
        "dataframe": dataframe,
        "date": date,
        "date_range": date_range,
        "datetime": moment,
        "dictionary": dictionary,
        "dropdown": dropdown,
        "experimental_data_editor": experimental,
        "file": file,
        "file_browser": file_browser,
        "form": form,
        "matplotlib": chosen,
        "matrix": matrix,
        "microphone": microphone,
        "multiselect": multiselect,
        "number": number,
        "panel": wrapped,
        "plotly": plot,
        "radio": radio,
        "range_slider": range_slider,
        "refresh": refresh,
        "run_button": run_button,
        "slider": slider,
        "switch": switch,
        "table": table,
        "tabs": tabs,
        "text": text,
        "text_area": text_area,
    }
    mo.Html(
        "".join(
            f'<section aria-label="{kind}">{kind} {mo.as_html(element).text}</section>'
            for kind, element in elements.items()
        )
    )
    return (elements,)


@app.cell
def _(mo):
    ran = set()
    told = mo.ui.button(label="Tell")
    told
    return ran, told


@app.cell
def _(ran, run_button):
    ran.update(["run"] if run_button.value else [])
    return


@app.cell
def _(
    altair_chart,
    array,
    batch,
    button,
    chat,
    checkbox,
    chosen,
    code_editor,
    counter,
    data_editor,
    data_explorer,
    dataframe,
    date,
    date_range,
    dictionary,
    dropdown,
    experimental,
    file,
    file_browser,
    form,
    io,
    json,
    matrix,
    microphone,
    mo,
    moment,
    multiselect,
    number,
    pane,
    pd,
    plot,
    radio,
    range_slider,
    ran,
    refresh,
    slider,
    switch,
    table,
    tabs,
    told,
    text,
    text_area,
):
    told

    def plain(value):
        match value:
            case pd.DataFrame():
                return value.to_dict("records")
            case io.BytesIO():
                return value.getvalue().decode()
            case _ if hasattr(value, "isoformat"):
                return value.isoformat()
            case _ if hasattr(value, "content"):
                return [value.role, value.content]
            case _ if hasattr(value, "contents"):
                return [value.name, value.contents.decode()]
            case _ if hasattr(value, "path"):
                return value.name
        return repr(value)

    values = {
        "altair_chart": altair_chart.value,
        "anywidget": counter.value["count"],
        "array": array.value,
        "batch": batch.value,
        "button": button.value,
        "chat": [[message.role, message.content] for message in chat.value],
        "checkbox": checkbox.value,
        "code_editor": code_editor.value,
        "data_editor": data_editor.value,
        "data_explorer": data_explorer.value,
        "dataframe": dataframe.value,
        "date": date.value,
        "date_range": date_range.value,
        "datetime": moment.value,
        "dictionary": dictionary.value,
        "dropdown": dropdown.value,
        "experimental_data_editor": experimental.value,
        "file": [[given.name, given.contents.decode()] for given in file.value],
        "file_browser": [found.name for found in file_browser.value],
        "form": form.value,
        "matplotlib": chosen.value,
        "matrix": matrix.value,
        "microphone": microphone.value,
        "multiselect": multiselect.value,
        "number": number.value,
        "panel": pane.value,
        "plotly": plot.value,
        "radio": radio.value,
        "range_slider": range_slider.value,
        "refresh": refresh.value,
        "run_button": sorted(ran),
        "slider": slider.value,
        "switch": switch.value,
        "table": table.value,
        "tabs": tabs.value,
        "text": text.value,
        "text_area": text_area.value,
    }
    unlisted = sorted(set(mo.ui.__all__) - set(values))
    shown = json.dumps({"values": values, "unlisted": unlisted}, default=plain)
    mo.plain_text(f"values {shown} end")
    return




if __name__ == "__main__":
    app.run()
