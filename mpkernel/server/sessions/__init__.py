"""A client's end of a kernel.

    client ─▶ Session ─ send ─▶ Outbox ─ as the window has room ─▶ the host
       ▲         │ ◀───────────────────────────────────── messages
       │         └─▶ Journal: what brings the session back on another process
       └──── inbox

base             what every session has: its number, its windows, its way to the host
outbox           what it sends: what is on its way, and what waits for room
session          a client's end of it, for asyncio
journal          what a session must remember to come back
recovery_record  what is remembered of its recoveries
"""
