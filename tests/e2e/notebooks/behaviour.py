import marimo

__generated_with = "0.23.8"
app = marimo.App()

with app.setup:
    import marimo as mo


@app.function
def square(number):
    return number * number


@app.cell
def _():
    action = mo.ui.dropdown(
        ["nothing", "fork", "spawn", "executor", "subprocess", "asyncio", "spin", "c", "large"],
        value="nothing",
        label="Action",
    )
    action
    return (action,)


@app.cell
def _(action):
    import asyncio
    import ctypes
    import multiprocessing
    import os
    import signal
    import subprocess
    import sys
    from concurrent.futures import ProcessPoolExecutor

    def local_square(number):
        return number * number

    def interrupted():
        child = subprocess.Popen(
            [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        child.stdout.readline()
        child.send_signal(signal.SIGINT)
        return child.wait()

    def run():
        match action.value:
            case "fork":
                with multiprocessing.get_context("fork").Pool(2) as pool:
                    return pool.map(square, range(4))
            case "spawn":
                with multiprocessing.get_context("spawn").Pool(2) as pool:
                    return pool.map(square, range(4))
            case "executor":
                with ProcessPoolExecutor(2) as executor:
                    return list(executor.map(square, range(4)))
            case "subprocess":
                return interrupted()
            case "spin":
                while True:
                    pass
            case "c":
                return ctypes.PyDLL(None).sleep(600)
            case "large":
                return "x" * 4_000_000

    async def gathered():
        return await asyncio.gather(*(asyncio.sleep(0, number) for number in range(4)))

    return gathered, os, run


@app.cell
async def _(action, gathered, os, run):
    answer = await gathered() if action.value == "asyncio" else run()
    text = f"length {len(answer)}" if isinstance(answer, str) else answer
    mo.md(f"{action.value} gave {text} in process {os.getpid()} end")
    return


if __name__ == "__main__":
    app.run()
