"""The server's half: it owns app hosts and the sessions on them. Imports nothing of `host`.

    Session ──send──▶ AppHost ──▶ Link ══ control Pipe ══▶ app host
       ▲                            │
       └────── inbox ◀── AppHost ◀──┘ ◀══ stream Pipe ════ app host

    HostPool       app path → App; the one that a library's user holds
    App            one app: what stays while its processes come and go (`restart_policy`)
    AppHost        one process of an app, its state (`lifecycle`) and its sessions (`Roster`)
    HostProcess    the operating system's side of it: `launch`, death, reaping
    strays         what a host that died by itself has left running
    Watchdog       samples (`usage`, `lineage`) and pings; what follows is `verdicts`
    LastWords      what a process leaves to be known of its end (`deaths`)
    Journal        what brings a session back on the next process
    Standby        warm processes that wait for the next app that starts
    Link           the two Pipes: sends from any thread, reads on the loop, never blocks it
    SessionLink    a session as its app and its host know it, with its windows
    Session        one client's end of it; its inbox is where its messages land
    Operations     what an operator sees and orders: `snapshot`, `metrics`, `control`, `crashes`
    ConsoleRelay   what hosts write to their descriptors 1 and 2, to the log
    HostConsole    the same, back to the host, which knows whose it is
    ForegroundApp  an app in place of its launcher, for `mpkernel exec`

All state of a host is changed on the loop's thread, except where a declaration names its lock.
"""
