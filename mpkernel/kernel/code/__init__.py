"""Private to the kernel: an app's file as cells, and running their code.

cells        an app's file as cells
names        which names a cell reads and defines
runner       compiling and running a cell, and tracebacks without the kernel's own frames
namespace    a `__main__` of each session's own
completion   how a name could go on
forks        children that a cell forks
"""
