"""Context variables: copies, tokens, tasks, threads."""

import asyncio
import contextvars
import threading

user = contextvars.ContextVar("user", default="nobody")
depth = contextvars.ContextVar("depth")
seen = []


def whoami():
    return user.get(), depth.get(0)


def nested():
    token = depth.set(depth.get(0) + 1)
    user.set("inner")
    inside = whoami()
    depth.reset(token)
    return inside


async def task(name):
    user.set(name)
    await asyncio.sleep(0)
    return await asyncio.to_thread(whoami)


async def main():
    return await asyncio.gather(task("ada"), task("bob"), asyncio.to_thread(user.get))


token = user.set("outer")
copy = contextvars.copy_context()
print(copy.run(nested), whoami(), copy[user], depth in copy)
print(asyncio.run(main()), whoami())
thread = threading.Thread(target=copy.run, args=(lambda: seen.append(whoami()),))
thread.start()
thread.join()
user.reset(token)
print(seen, whoami(), token.old_value is contextvars.Token.MISSING)
