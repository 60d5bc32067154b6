"""Exception groups: split by except*, nested, with notes; one is left at the end."""

import asyncio


def handle(*errors):
    try:
        raise ExceptionGroup("several", errors)
    except* ValueError as group:
        print("values:", [str(error) for error in group.exceptions])
    except* (KeyError, IndexError) as group:
        print("lookups:", len(group.exceptions), repr(group))
    finally:
        print("handled")


async def fail(kind, text):
    raise kind(text)


async def main():
    async with asyncio.TaskGroup() as group:
        group.create_task(fail(ValueError, "one"))
        group.create_task(fail(OSError, "two"))


handle(ValueError("a"), KeyError("b"), ValueError("c"))
try:
    asyncio.run(main())
except* OSError as group:
    print(group.message, group.exceptions)
except* ValueError as group:
    print(group.exceptions)
inner = ExceptionGroup("inner", [TypeError("deep"), ValueError("deeper")])
matched, rest = inner.split(TypeError)
print(matched, rest, inner.subgroup(lambda error: "er" in str(error)))
inner.add_note("a note")
handle(inner, IndexError("d"))
print("never")
