"""Interrupting a thread: an exception raised in it from outside, at a moment that does no harm.

The embedded kernel and marimo's backend both use this; it knows neither of them.

    Interrupts.interrupt ─▶ safe_points: is the thread where it may be stopped? ─▶ the exception
                                ▲                                                     │
                            half_done                                    waits ◀──────┘
                                                            (in slices, so that it arrives)

sending        stops the code of one session: when, how often, and until when it is tried
safe_points    raising the exception at a moment when it harms no other session
landing        having it raised where the thread was seen, and not later
half_done      whether a function may have begun something and not finished it
waits          waits that an exception can reach
thread_starts  starting a thread, in which an exception for its starter must not be raised
"""
