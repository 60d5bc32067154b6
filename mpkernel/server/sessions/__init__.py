"""A client's end of a kernel.

    client ─▶ Session ─ send ─▶ Outbox ─ as the window has room ─▶ the host
       ▲         │ ◀───────────────────────────────────── messages
       │         └─▶ Journal: what brings the session back on another process
       └──── inbox

session          a client's half of a session, for asyncio
queued           the half that its app and its host know; keeps messages until they are read
base             what all kinds of sessions have in common: number, windows, sending to the host
events           the methods that are called with what arrives; each kind of client has its own
outbox           keeps what is sent: the bytes on their way, and the messages that wait for room
progress         how far its kernel has come with its commands
traffic          the commands and bytes that are under way in a session
journal          what a session must remember to come back
recovery_record  what is remembered of its recoveries
copies           tells the copy of a session on the disk of each change
app_and_host     what a session needs of its app, and of its host
"""
