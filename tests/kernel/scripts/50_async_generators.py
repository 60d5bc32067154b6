"""Asynchronous generators, comprehensions, context managers, and their end."""

import asyncio
from contextlib import AsyncExitStack, aclosing, asynccontextmanager


async def count(stop):
    try:
        for number in range(stop):
            await asyncio.sleep(0)
            yield number
    finally:
        print("generator over")


@asynccontextmanager
async def opened(name):
    print("open", name)
    yield name
    await asyncio.sleep(0)
    print("close", name)


async def main():
    print([number async for number in count(4) if number % 2])
    async with aclosing(count(100)) as numbers:
        async for number in numbers:
            if number == 2:
                break
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(opened("one"))
        await stack.enter_async_context(opened("two"))
    unfinished = count(3)
    print(await anext(unfinished), await anext(count(0), "default"))


asyncio.run(main())
with asyncio.Runner() as runner:
    print(runner.run(anext(count(2))), runner.get_loop().is_running())
