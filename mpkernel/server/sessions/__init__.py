"""A client's end of a kernel.

    client ─▶ Session ─ send ─▶ Outbox ─ as the window has room ─▶ the host
       ▲         │ ◀───────────────────────────────────── messages
       │         └─▶ Journal: what brings the session back on another process
       └──── inbox

session          what a client of a kernel holds: its own half, for asyncio
queued           the half that its app and its host know; keeps messages until they are read
base             what every session has: its number, its windows, its way to the host
events           what becomes of what arrives: a method for each event, for a kind of client to fill
outbox           what it sends: what is on its way, and what waits for room
traffic          what is under way in a session
journal          what a session must remember to come back
recovery_record  what is remembered of its recoveries
copies           what a session tells whoever keeps a copy of it on the disk
app_and_host     what a session needs of its app, and of its host
"""
