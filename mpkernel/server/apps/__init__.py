"""An app: what stays while its processes come and go.

    open ─▶ App ─▶ the host that takes sessions, launched when there is none
             │ ◀── a host's end: its reason, and the sessions that were on it
             └───▶ WaitingSessions ─▶ the next host

app_table          the apps of a pool, by their files
app                one app: its sessions, and what becomes of them when a process ends
processes          its processes: which one takes sessions, when another is started
placement          which process of an app gets a session
waiting_sessions   sessions without a process, and how each gets one again
recovery_plan      after a death: whose fault it was, and in which order sessions come back
"""
