"""Checks what this machine allows an mpkernel server, and says what to do where it allows too
little.

    the machine ─▶ gathering ─▶ Facts ─▶ checks.lines_of ─▶ Lines: OK, WARN, FAIL ─▶ cli.doctor
                   trial.converse ─▶ Trial ─────┘

`gathering` collects facts and does not judge them; that something is missing is a fact, too.
`cgroups` is the part of it that reads control groups. `checks` and `software` judge from facts
alone, and give a `Line` (see `lines`) for each check. `abilities` does both for what only some apps
need: uv, and confinement. `trial` starts a real app, `echo`. `cluster` asks each worker of a Dask
cluster what it has, has a process started on it, and judges that. Nothing here needs marimo,
uvloop, `/proc` or `/dev/shm`.
"""
