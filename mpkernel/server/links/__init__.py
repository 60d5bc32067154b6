"""What connects the server to a process: its Pipes, and its console.

    send ─▶ Link ══ control Pipe ══▶ the process
    frames ◀─┘ ◀═══ stream Pipe ════
    the log ◀── ConsoleRelay ◀═══ pipes of its descriptors 1 and 2
                     └─▶ HostConsole ─▶ back to the process, which knows whose text it is

link           what every connection to a process offers
pipe_link      the one over two Pipes: sends from any thread, reads on the loop, never blocks it
backlog        what a Pipe has not taken yet
console_relay  what processes write to their descriptors 1 and 2, waited for by one thread
console_source  one of these descriptors: what is read from it, and goes to the log
console_tail   the last lines of a process, for the report of its death
host_console   the same, back to the process that wrote it
sockets        a connection of multiprocessing as the socket that it is
"""
