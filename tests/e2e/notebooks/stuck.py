import marimo

app = marimo.App()


@app.cell
def _():
    import asyncio
    import marimo as mo
    import os
    import socket
    import time

    return asyncio, mo, os, socket, time


@app.cell
def _(mo):
    action = mo.ui.dropdown(
        ["nothing", "spins", "prints", "is deaf", "sleeps", "receives", "awaits", "spins async"],
        value="nothing",
        label="Action",
    )
    action
    return (action,)


@app.cell
def _(mo, os):
    mo.md(f"runs in process {os.getpid()} end")
    return


@app.cell
def _(action, os, socket, time):
    def say(word):
        with open(os.environ["STUCK_LOG"], "a") as log:
            log.write(f"{word}\n")

    if action.value not in ("nothing", "awaits", "spins async"):
        say("began")
    if action.value == "spins":
        while True:
            pass
    if action.value == "prints":
        while True:
            print("again")
    if action.value == "is deaf":
        while True:
            try:
                turns = 0
                while True:
                    turns += 1
            except BaseException:
                pass
    if action.value == "sleeps":
        try:
            time.sleep(600)
        finally:
            time.sleep(0.3)
            say("ended")
    if action.value == "receives":
        mine, silent = socket.socketpair()
        mine.recv(1)
    return (say,)


@app.cell
async def _(action, asyncio, say):
    if action.value == "awaits":
        say("began")
        try:
            await asyncio.sleep(600)
        finally:
            await asyncio.sleep(0.3)
            say("ended")
    if action.value == "spins async":
        say("began")
        while True:
            pass
    return


if __name__ == "__main__":
    app.run()
