"""What crosses a Pipe between the server and an app host, and nothing else.

    server ── control Pipe (both ways) ──▶ host        commands and their credits, pings
    server ◀── control Pipe ───────────── host         ready, pong
    server ◀── stream Pipe (up only) ──── host         created, output, files, exited, credits

`frames` turns bytes into frames and back, `messages` turns the payload of a management frame into
a Struct and back, `bounds` says what these may claim. None does any I/O: whoever owns a descriptor
feeds them. The server decodes only what is defined here and opaque bytes; nothing that comes up a
Pipe is ever unpickled.
"""
