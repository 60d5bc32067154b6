"""Which process of an app gets a session."""

from __future__ import annotations

from dataclasses import dataclass

from mpkernel.server.apps import placement


@dataclass(frozen=True)
class Host:
    takes_sessions: bool = True
    refusal: str | None = None


def test_without_a_process_one_is_launched() -> None:
    assert placement.choose([]) is None


def test_one_that_drains_or_has_ended_gets_none() -> None:
    assert placement.choose([Host(takes_sessions=False), Host(takes_sessions=False)]) is None


def test_the_newest_that_takes_sessions_gets_it() -> None:
    older, newest = Host(), Host()
    assert placement.choose([older, newest, Host(takes_sessions=False)]) is newest


def test_one_that_refuses_gets_it_only_where_no_other_takes_any() -> None:
    willing, full = Host(), Host(refusal="it uses too much memory")
    assert placement.choose([willing, full]) is willing
    assert placement.choose([full]) is full
