"""Confinement: an app's process gives up rights, for ever, for itself and all that it starts.

    confining     `confine`: all of it, in the order that is needed
    reachable     which files a confined process may still read or change
    surroundings  its temporary folder, its home and its variables
    own_memory    a /dev/shm of its own, for multiprocessing
    own_mounts    all else of the file system read-only
    explaining    what a traceback says about it
    landlock      files, TCP ports, signals, abstract sockets: Linux's Landlock
    system_calls  what Landlock does not know, by a filter of system calls (seccomp)
    capabilities  what root has beside the files
    bounds        how many processes, and how large files and memory may be, with `strict`

It is used by a host before anything of its app is read, and by `mpkernel exec`. No privilege, no
other program and no setup of the machine is needed.
"""
