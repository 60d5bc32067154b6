"""The command line: `mpkernel COMMAND …`, one file a command. Nothing imports this package.

    main ─▶ commands: the module of the command ─▶ its `parser` reads the options ─▶ its `run`
                                                                  │
    people: columns (tables) ─ as the screen allows ─▶ show ◀─────┤
    programs: as_json ◀───────────────────────────────────────────┘

commands          the commands, with a line about each
parsers           argparse, with examples in the help and suggestions in errors
flags             the flags that settings have
paths             checks paths that are named on the command line
listening         checks that `run` can listen where it is told to
screen            how wide the output may be, and whether it has colors
tables            columns, sizes, ages, apps' texts without control characters
output            prints lines and what to do next, or JSON
standard_streams  closed standard streams, and an output that is full
server_table      servers as lines, for `status` and `top`
keys              single keys, for `top`
control           what `restart`, `drain` and `stop` share
greeting          what `run` says when it serves
log_format        how `run` logs
markdown          a page of the documentation in a terminal
units             the lines of a unit, for `systemd`
"""
