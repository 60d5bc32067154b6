"""Each commit is checked by the same commands that the whole check runs before its tests."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_hooks_are_the_commands_of_the_check() -> None:
    hooks = re.findall(
        r"^ +entry: python (.+)$", (ROOT / ".pre-commit-config.yaml").read_text(), re.MULTILINE
    )
    checks, _, _ = (ROOT / ".ci" / "run").read_text().partition('say "Tests')
    commands = re.findall(r'^ *"\$python" (.+)$', checks, re.MULTILINE)
    assert hooks == commands
    assert len(hooks) == 4
