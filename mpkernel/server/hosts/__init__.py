"""One process of an app, the state that it is in and the sessions on it.

    AppHost ─ setup, kernels, pings ─▶ Link ══▶ the process
       ▲                                │
       │                                ▼
       ├── news of its life ──────── Incoming ─▶ HostLimits: ends it if it breaks the protocol
       │                                │
       │                                └──────▶ SessionTable ─▶ each session's own messages
    Owner, the app: is told when the process ends

host             the process from its launch to its end
host_view        what others can see of it: its state, its sessions, what it uses
health           whether the process is well; ends it if it is not
departure        how a healthy process becomes ready, drains and ends in order; the time for each
waiting          waits for the end of several hosts, but not for ever
ending           notices the end of the process, cleans up, and tells the app
making           makes hosts, and has what all hosts of a pool share
lifecycle        which state may follow which
owner            what a host needs of its app
setup            what the process is told of itself, and of a kernel
incoming         takes messages of the process, and hands each to its receiver
session_table    its sessions, by their numbers on the wire
load             how many of its sessions compute
credits          tells the process how much output the clients of its sessions have taken
host_limits      ends a process that breaks the protocol
announced_files  its virtual files
private_folders  its own folders, and what it may do, if the app is confined
"""
