"""Where `Settings` come from, and which apps have their own.

    flags ────────────┐
    MPKERNEL_… ───────┼─▶ gather ─▶ Gathered: Settings, the origin of each, rules ─▶ HostPool
    [tool.mpkernel] ──┘                                                              an app's own

`sources` gathers, `file` finds and reads the file, `apps` says what one app's settings are,
`values` turns what is written into values and back, `names` knows what a setting is called where.
Nothing here starts anything: a mistake is refused before the server runs.
"""
