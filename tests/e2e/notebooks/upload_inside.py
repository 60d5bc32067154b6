import marimo

__generated_with = "0.23.8"
app = marimo.App()


@app.cell
def _():
    import os

    import marimo as mo

    def file(label=""):
        return mo.ui.file(label=label)

    form = file().form(label="Form")
    files = mo.ui.array([file(), file()])
    nested = mo.ui.dictionary({"note": mo.ui.text(), "files": files}).form(label="Nested")
    batch_form = mo.md("{file}").batch(file=file()).form(label="Batch form")
    batch = mo.md("{file}").batch(file=file("In batch"))
    dictionary = mo.ui.dictionary({"file": file("In dictionary")})
    array = mo.ui.array([file("In array")])
    mo.vstack([form, nested, batch_form, batch, dictionary["file"], array[0]])
    return array, batch, batch_form, dictionary, form, mo, nested, os


@app.cell
def _(array, batch, batch_form, dictionary, form, mo, nested, os):
    found = [
        *(form.value or []),
        *(one for files in (nested.value or {"files": []})["files"] for one in files),
        *(batch_form.value or {"file": []})["file"],
        *batch.value["file"],
        *dictionary.value["file"],
        *array.value[0],
    ]
    shown = dict(sorted((file.name, len(file.contents)) for file in found))
    note = (nested.value or {"note": ""})["note"]
    mo.plain_text(f"has {shown} {note} end in process {os.getpid()} end")
    return


if __name__ == "__main__":
    app.run()
