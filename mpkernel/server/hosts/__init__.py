"""One process of an app, the state that it is in and the sessions on it.

    AppHost ─ setup, kernels, pings ─▶ Link ══▶ the process
       ▲                                │
       │                                ▼
       ├── news of its life ──────── Incoming ─▶ HostLimits: what no honest process would do
       │                                │
       │                                └──────▶ SessionTable ─▶ each session's own messages
    Owner, the app: told of the process's end

host             the process from its launch to its end
health           whether the process is well, and its end where it is not
departure        how one that is well becomes ready and leaves, and what it is given time for
ending           how its end is noticed, what is done and told then
making           makes hosts, and has what all hosts of a pool share
lifecycle        which state may follow which
owner            what a host needs of its app
setup            what the process is told of itself, and of a kernel
incoming         what the process says, and who is told
session_table    its sessions, by their numbers on the wire
load             how many of its sessions compute
credits          what clients took of their sessions' output, told to the process
host_limits      what ends a process that breaks the protocol
announced_files  its virtual files
"""
