"""Interrupting a thread: an exception raised in it from outside, at a moment that does no harm.

The embedded kernel and marimo's backend both stand on this; it knows neither.

    Interrupts.interrupt ─▶ safe_points: is the thread where it may be stopped? ─▶ the exception
                                ▲                                                     │
                            half_done                                    waits ◀──────┘
                                                            (in slices, so that it arrives)

sending      what can stop one session's code, and when that is asked for
safe_points  raising the exception at a moment when it harms no other session
half_done    what a function may have begun and not ended
waits        waits that an exception can reach
"""
