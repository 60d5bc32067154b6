"""Reads the text of metrics, with the parsers of both formats that it must follow."""

from __future__ import annotations

from prometheus_client.openmetrics.parser import text_string_to_metric_families as as_openmetrics
from prometheus_client.parser import text_string_to_metric_families as as_prometheus

__all__ = ["Numbers", "number", "numbers"]

Numbers = dict[tuple[str, frozenset[tuple[str, str]]], float]


def numbers(text: str) -> Numbers:
    """Every sample by name and labels, as both formats' parsers agree on it."""
    found: list[Numbers] = []
    for parser in (as_openmetrics, as_prometheus):
        samples = [sample for family in parser(text) for sample in family.samples]
        by_name = {(one.name, frozenset(one.labels.items())): one.value for one in samples}
        assert len(by_name) == len(samples), "a sample is there twice"
        found.append(by_name)
    assert found[0] == found[1]
    return found[0]


def number(found: Numbers, name: str, **labels: str) -> float | None:
    """The one sample of this name that has these labels."""
    wanted = labels.items()
    values = [
        value for (one, has), value in found.items() if one == f"mpkernel_{name}" and wanted <= has
    ]
    assert len(values) <= 1, f"{name} {labels} is not one"
    return values[0] if values else None
