"""What a server tells an outpost fits into one part of their connection, or is refused at once."""

from __future__ import annotations

import msgspec
import pytest

from mpkernel.dask_backend.messages import Folder, Launch, encode_news, fault_of
from mpkernel.dask_backend.parts import MAX_PART_BYTES
from mpkernel.server.launching.wanted_python import WantedPython

LONGEST = Folder(digest="0" * 64, size=2**63 - 1, name="\N{EURO SIGN}" * 85, app="a" * 255)


def order(*, name: str = "app.py", requirements: int = 0, variable: str = "") -> Launch:
    wanted = WantedPython(named=None, sandbox=True, requirements=("package==1.2.3",) * requirements)
    return Launch(
        name=name,
        app=f"/{name}",
        env={"NAME": variable},
        silence_s=20.0,
        sample_s=1.0,
        python=wanted,
    )


@pytest.mark.parametrize(
    ("given", "says"),
    [
        pytest.param(order(requirements=10_000), "its requirements", id="requirements"),
        pytest.param(order(variable="v" * 70_000), "environment variables", id="variables"),
    ],
)
def test_what_makes_an_order_too_long_is_named(given: Launch, says: str) -> None:
    assert says in str(fault_of(given))


@pytest.mark.parametrize("letter", ["v", "\N{EURO SIGN}"])
def test_an_order_that_is_not_refused_fits_with_every_folder(letter: str) -> None:
    fits, too_long = 0, MAX_PART_BYTES
    while too_long - fits > 1:
        between = (fits + too_long) // 2
        if fault_of(order(variable=letter * between)) is None:
            fits = between
        else:
            too_long = between
    longest = msgspec.structs.replace(order(variable=letter * fits), folder=LONGEST)
    assert MAX_PART_BYTES // 2 < len(encode_news(longest)) <= MAX_PART_BYTES
