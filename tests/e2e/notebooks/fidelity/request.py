import marimo

__generated_with = "0.23.8"
app = marimo.App()

@app.cell
def _():
    import marimo as mo

    press = mo.ui.button(label="Press", value=0, on_click=lambda count: count + 1)
    mo.vstack([press, mo.download(bytes(300_000), filename="large.bin", label="Large")])
    return mo, press


@app.cell
def _(mo, press):
    import json

    request = mo.app_meta().request
    seen = {
        "mode": mo.app_meta().mode,
        "pressed": press.value,
        "path": request.url["path"],
        "base": request.base_url["path"],
        "query": dict(request.query_params),
        "host": request.headers["host"],
        "agent": request.headers["user-agent"],
        "cookie": request.cookies.get("visitor"),
        "user": request.user["is_authenticated"],
    }
    mo.plain_text(f"request {json.dumps(seen)} end")
    return


if __name__ == "__main__":
    app.run()
