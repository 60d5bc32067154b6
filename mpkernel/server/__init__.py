"""The server's half: it owns app hosts and the sessions on them. Imports nothing of `host`.

    Session ──send──▶ AppHost ──▶ Link ══ control Pipe ══▶ app host
       ▲                            │
       └────── inbox ◀── AppHost ◀──┘ ◀══ stream Pipe ════ app host

    HostPool       app path → AppHost; the one that a library's user holds
    AppHost        one app's process, its state (`lifecycle`) and its sessions
    HostProcess    the operating system's side of it: launch, death, reaping
    Standby        warm processes that wait for the next app that starts
    Link           the two Pipes: sends from any thread, reads on the loop, never blocks it
    Session        one client's end; its inbox is where its messages land
    ConsoleRelay   what hosts write to their descriptors 1 and 2, to the log
    HostConsole    the same, back to the host, which knows whose it is

All state of a host is changed on the loop's thread, except where a declaration names its lock.
"""
