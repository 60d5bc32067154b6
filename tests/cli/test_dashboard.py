"""What `mpkernel dashboard` gives to the server of its page. `e2e/test_dashboard` shows that."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import pytest

from mpkernel.cli import run as serving
from mpkernel.cli.main import main


@pytest.fixture
def options(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The options of each server that would have been started."""
    given: list[list[str]] = []

    def run(arguments: Sequence[str], greeting: Callable[[str, bool], None]) -> int:
        given.append(list(arguments))
        return 0

    monkeypatch.setattr(serving, "run", run)
    return given


def test_without_a_token_of_yours_there_is_another_one_each_time(options: list[list[str]]) -> None:
    for _ in range(2):
        assert main(["dashboard"]) == 0
    tokens = [one[one.index("--token-password") + 1] for one in options]
    assert len(set(tokens)) == 2
    assert all(len(token) >= 20 for token in tokens)
    assert all("--token" in one and "--host" not in one for one in options)


@pytest.mark.parametrize(
    ("given", "served"),
    [
        (["--no-token"], []),
        (["--token-password", "secret"], ["--token-password", "secret", "--token"]),
        (["--token-password-file", "file"], ["--token-password-file", "file", "--token"]),
    ],
)
def test_your_own_token_is_used_and_none_if_you_say_so(
    given: list[str], served: list[str], options: list[list[str]]
) -> None:
    assert main(["dashboard", *given]) == 0
    [one] = options
    assert sorted(word for word in one if "token" in word or word in given) == sorted(served)


def test_settings_of_the_servers_that_it_shows_are_not_its_own(
    options: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MPKERNEL_CONFINE", "strict")
    monkeypatch.setenv("MPKERNEL_LOG_FORMAT", "json")
    assert main(["dashboard"]) == 0
    assert "MPKERNEL_CONFINE" not in os.environ
    assert os.environ["MPKERNEL_LOG_FORMAT"] == "json"
    assert "--no-snapshot" in options[0]
