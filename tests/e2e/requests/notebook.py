import marimo

__generated_with = "0.23.8"
app = marimo.App()


@app.cell
def _():
    import json
    import os

    import marimo as mo

    request = mo.app_meta().request
    user, meta = request.user, request.meta

    def attempt(read):
        try:
            return str(read())
        except Exception as error:  # noqa: BLE001 (it is shown)
            return f"{type(error).__name__}: {error}"

    seen = {
        "user": {name: user[name] for name in ("username", "is_authenticated", "display_name")},
        "plain": meta["plain"],
        "tenant": [meta["tenant"].name, meta["tenant"].role.value, meta["tenant"].title],
        "point": [meta["point"].x, meta["point"][1]],
        "tags": meta["tags"]["color"],
        "path": str(meta["path"].parent),
        "with_connection": meta["with_connection"].title,
    }
    missing = {
        "connection": attempt(lambda: meta["connection"].cursor()),
        "inner": attempt(lambda: meta["with_connection"].connection),
        "lock": repr(meta["lock"]),
        "function": attempt(lambda: meta["function"].anything),
        "class": repr(meta["class"]),
        "nested": attempt(lambda: repr(meta["nested"])[:60]),
        "method": attempt(lambda: meta["tenant"].charge()),
        "shown": attempt(lambda: len(repr(request.meta)) > 0),
    }
    mo.plain_text(
        f"seen {json.dumps(seen)} missing {json.dumps(missing)} in process {os.getpid()} end"
    )
    return


if __name__ == "__main__":
    app.run()
