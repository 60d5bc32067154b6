"""How a process of an app is started, kept ready and ended.

    Standby ─ has some ready ─▶ WarmProcess ─┐
                                             ├─▶ Launcher ─▶ Process ─▶ DeathWatch: its end,
    a host that needs a fresh one ───────────┘                          on the event loop

process           what every process, and what launches one, offers to the server
local_launcher    launches one on this machine
chosen_launcher   uses it, or the launcher of a cluster, as an app's settings say
local_process     that one: its Pipes, its status, its end
launch            the spawn itself: command line, descriptors, environment
wrapping          a command in front of the interpreter, and the host behind it
interpreter       which Python is executed
wanted_python     which Python an app asks for
python_of_app     with which Python an app's next process runs, as this machine has it
other_python      what is launched where that is not the server's
given_python      such a Python that somebody names
sandbox_python    such a Python of an environment that an app's header describes
handshake         whether such a Python fits the server
environments      which environment variables an app's process gets
descriptor_limit  how many descriptors the server may have open, and how many apps may
standbys          the standbys of a pool: of the server's Python, of an environment
standby           processes that wait for an app
warm_process      one of these
restart_policy    when a process may be started again after deaths
death_watch       the end of one process, told once
foreground        an app that takes the place of its launcher in the terminal, for `mpkernel exec`
"""
