"""What crosses a Pipe between the server and an app host, and nothing else.

    server ── control Pipe (both ways) ──▶ host        commands and their credits, pings
    server ◀── control Pipe ───────────── host         ready, pong
    server ◀── stream Pipe (up only) ──── host         created, output, files, exited, credits

`frames` turns bytes into frames and back, `messages` turns the payload of a management frame into
a Struct and back, `before_host` has the messages of a process that is not a host yet, `bounds`
says which numbers and texts a message may hold, `texts` cuts long texts for them, `windows` says
how much may be sent before the receiver has taken what came before, `confinement` says what the
process of a confined app may do. No module here does any I/O:
whoever owns a descriptor gives them the bytes. The server decodes only the messages that are
defined here; to it, all other payloads are opaque bytes. Nothing that comes up a Pipe is ever
unpickled.
"""
