"""How a process of an app is started, kept ready and ended, as the operating system has it.

    Standby ─ has some ready ─▶ WarmProcess ─┐
                                             ├─▶ HostProcess ─▶ launch ─▶ the operating system
    a host that needs a fresh one ───────────┘        │
                                                      └─▶ DeathWatch: its end, on the event loop

local_process     a process on this machine: its Pipes, its status, its end
launch            the spawn itself: command line, descriptors, environment
interpreter       which Python is executed
environments      which environment variables an app's process gets
descriptor_limit  how many descriptors the server may have open, and how many apps may
standby           processes that wait for an app
warm_process      one of these
restart_policy    when a process may be started again after deaths
death_watch       the end of one process, told once
foreground        an app in place of its launcher, for `mpkernel exec`
"""
