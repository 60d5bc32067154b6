"""What connects the server to a process: its Pipes, and its console.

    send ─▶ Link ══ control Pipe ══▶ the process
    frames ◀─┘ ◀═══ stream Pipe ════
    the log ◀── ConsoleRelay ◀═══ pipes of its descriptors 1 and 2
                     └─▶ HostConsole ─▶ back to the process, which knows whose text it is

link           what every connection to a process offers
pipe_link      the one over two Pipes: reads on the loop, never blocks it
pipe_sender    its sending half: from any thread, never blocks it
collecting     how long a flood of small messages may collect before it is read
backlog        what a Pipe has not taken yet
console_relay  a thread that reads what processes write to their descriptors 1 and 2
console_source  reads one of these descriptors, and writes its text to the log
server_output  the server's own descriptors 1 and 2, written without waiting
console_tail   the last lines of a process, for the report of its death
host_console   sends a process the text that it has written, for its sessions
sockets        a socket object for a connection of multiprocessing
"""
