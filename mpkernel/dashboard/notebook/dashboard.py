# /// script
# [tool.marimo.display]
# theme = "system"
# ///
import marimo

__generated_with = "0.23.8"
app = marimo.App(width="full", app_title="mpkernel dashboard", css_file="dashboard.css")


@app.cell
def _():
    import time
    import weakref
    from html import escape

    import marimo as mo

    from mpkernel.dashboard.looking import look
    from mpkernel.dashboard.ordering import give, orders_of, who_asks
    from mpkernel.dashboard.pages import page
    from mpkernel.dashboard.views import view_of

    return escape, give, look, mo, orders_of, page, time, view_of, weakref, who_asks


@app.cell
def _(mo, orders_of, view_of, who_asks):
    class Tab:
        """Is gone when this session has ended: its thread must then end, too."""

    tab = Tab()
    view = view_of(mo.query_params().to_dict())
    request = mo.app_meta().request
    orders = orders_of(view, who_asks(request.user if request is not None else None))
    asked, set_asked = mo.state(None)
    said, set_said = mo.state("")
    return asked, orders, said, set_asked, set_said, tab, view


@app.cell
def _(mo, orders, set_asked, set_said):
    def ask(order):
        set_said("")
        set_asked(order)

    buttons = mo.ui.array(
        [
            mo.ui.button(
                label=f"{one.does}…",
                kind="danger" if one.does == "Stop" else "neutral",
                on_click=lambda _, order=one: ask(order),
            )
            for one in orders
        ]
    )
    mo.hstack(buttons.elements, justify="start", wrap=True) if orders else None
    return


@app.cell
def _(asked, give, look, mo, set_asked, set_said):
    def answer_yes(_):
        set_said(give(asked(), look()))
        set_asked(None)

    answers = mo.ui.array(
        [
            mo.ui.button(
                label=f"Yes: {asked().does}" if asked() else "Yes",
                kind="danger",
                on_click=answer_yes,
            ),
            mo.ui.button(label="No", on_click=lambda _: set_asked(None)),
        ]
    )
    return (answers,)


@app.cell
def _(answers, asked, escape, mo, said):
    def told(text, role):
        return mo.Html(f'<p role="{role}">{escape(text)}</p>')

    if asked() is not None:
        row = mo.hstack(answers.elements, justify="start")
        shown = mo.callout(mo.vstack([told(asked().question, "alert"), row]), kind="warn")
    elif said():
        shown = mo.callout(told(said(), "status"))
    else:
        shown = None
    shown
    return


@app.cell
def _(look, mo, page, tab, time, view, weakref):
    def _show(tab, mo, view, page, look, pause, shown):
        # Of the notebook's names nothing is used: they are gone when the session has ended.
        thread = mo.current_thread()
        while not thread.should_exit:
            pause(1.0)
            if tab() is None:
                return
            now = page(view, look)
            if now != shown:
                mo.output.replace(mo.Html(now))
                shown = now

    _first = page(view, look)
    _parts = (weakref.ref(tab), mo, view, page, look, time.sleep, _first)
    mo.Thread(target=_show, args=_parts, daemon=True).start()
    mo.Html(_first)
    return


if __name__ == "__main__":
    app.run()
