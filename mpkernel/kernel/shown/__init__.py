"""Private to the kernel: how what a cell prints and shows becomes messages.

display          turns a value into a figure
output_list      the figures of one cell, which many threads change
meter            the state of a progress bar, and when it is sent
console_files    `sys.stdout` and `sys.stderr` of a session's code
session_console  sends what a session prints: many writes, few messages
flusher          the thread that sends text which was printed some time ago
terminal         progress and outputs of an app without a client
"""
