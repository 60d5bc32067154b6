"""Where `Settings` come from, and which apps have their own.

    flags ────────────┐
    MPKERNEL_… ───────┼─▶ gather ─▶ Gathered: Settings, the origin of each, rules ─▶ HostPool
    [tool.mpkernel] ──┘                                                              an app's own

`sources` gathers, `file` finds and reads the file, `apps` says what one app's settings are,
`values` turns written text into values and back, `names` knows the name of a setting in each place.
All of this happens before the server starts: a mistake is reported, and nothing runs.
"""
