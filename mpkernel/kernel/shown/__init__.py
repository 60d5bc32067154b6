"""Private to the kernel: how what a cell prints and shows becomes messages.

display          a value as a figure
output_list      the figures of one cell, which many threads change
session_console  what a session prints: many writes, few messages
flusher          the thread that sends what was printed a while ago
terminal         the same where a terminal is all there is
"""
