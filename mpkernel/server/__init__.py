"""The server's half: it owns app hosts and the sessions on them. Imports nothing of `host`.

    Session ──send──▶ AppHost ──▶ Link ══ control Pipe ══▶ app host
       ▲                            │
       └────── inbox ◀── AppHost ◀──┘ ◀══ stream Pipe ════ app host

Its rooms, from the top. Each uses only those below it; of the two in one line neither uses the
other:

    pool                     HostPool: app path → App; the one that a library's user holds
    operations               what an operator sees and orders
    apps                     an app: what stays while its processes come and go
    hosts                    one process of an app, its state and the sessions on it
    launching · sessions     how a process is started and ended · a client's end of a kernel
    workers                  several processes of one server on one port
    supervision              how much a process uses, whether it answers, how it ended
    links                    the Pipes to a process, and its console

All state of a host is changed on the loop's thread, except where a declaration names its lock.
"""
