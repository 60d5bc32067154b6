"""Private to the kernel: splitting an app's file into cells, and running their code.

decoding     the bytes of an app's file as text
cells        an app's file as cells
names        which names a cell reads and defines
runner       compiling and running a cell; tracebacks without the kernel's own frames
sources      the sources of executed code, for tracebacks
namespace    a `__main__` for each session
completion   the names that a name which is being written could become
forks        child processes that a cell forks
"""
