"""asyncio.run from plain code: tasks, queues, timeouts, cancellation, threads."""

import asyncio


async def produce(queue, name, count):
    for number in range(count):
        await queue.put(f"{name}{number}")
        await asyncio.sleep(0)


async def wait_forever():
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        print("cancelled")
        raise


async def fail():
    raise KeyError("lost")


async def main():
    queue = asyncio.Queue()
    async with asyncio.TaskGroup() as group:
        group.create_task(produce(queue, "a", 2))
        group.create_task(produce(queue, "b", 2))
    print(sorted(queue.get_nowait() for _ in range(queue.qsize())))
    try:
        async with asyncio.timeout(0.01):
            await wait_forever()
    except TimeoutError:
        print("timed out")
    print(await asyncio.gather(asyncio.to_thread(abs, -7), fail(), return_exceptions=True))
    return "done"


print(asyncio.run(main()))
print(asyncio.run(asyncio.sleep(0, "again")))
