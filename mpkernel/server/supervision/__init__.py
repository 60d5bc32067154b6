"""Looking after processes: what they use, whether they answer, and how they ended.

    Watchdog ─ each second ─▶ usage ─▶ HostWatch ─▶ a verdict: refuse, replace, restart
                                ▲
                                └── descendants: which processes belong to a host

    a process ends ─▶ exit_status ─┐
    its last output ───────────────┼─▶ DeathEvidence ─▶ Death: the reason
    what it was ended for ─────────┘

watchdog        samples and pings all hosts of a pool
usage           what a host and all that it started use
reading         reads from the system what one process uses
descendants     which processes of the machine are a host's
verdicts        what is to be done about a host, decided from its samples and its pongs
exit_status     how a process ended, as the operating system tells it
deaths          the record of a death, and the reasons there are
death_evidence  collects what is known about the end of a process
strays          finds and ends what a dead host has left running
tallies         counts what has happened to an app, for its operator's charts
"""
