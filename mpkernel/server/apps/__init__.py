"""An app: what stays while its processes come and go.

    open ─▶ App ─▶ the host that takes the session, launched where one more is due
             │ ◀── a host's end: its reason, and the sessions that were on it
             └───▶ WaitingSessions ─▶ other hosts

app_table          the apps of a pool, by their files
app                one app: its sessions, and what becomes of them when a process ends
open_sessions      their names, and how many there may be
processes          its processes: which one takes a session, when another is started
placement          which process of an app gets a session
process_facts      collects the facts about a process from which `placement` decides
restart_policies   when its next process may be started after deaths
rolling_restart    replaces its processes one after another
upkeep             does the next thing whenever something has happened to it
waiting_sessions   sessions without a process, and how each gets one again
rebuilds           which sessions are being rebuilt, and by which processes
stored_sessions    sessions that come back after the end of their server
recovery_progress  tells sessions that wait how many of the app are back
recovery_plan      after a death: whose fault it was, and in which order sessions come back
pool_home          the process and event loop that a pool belongs to
closed_pool        the error of whoever uses a pool that is closed
unclosed_pools     kills the processes of pools that nobody has closed
"""
