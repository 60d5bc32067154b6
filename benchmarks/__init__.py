"""Figures of mpkernel beside its peers, measured in one run: `python -m benchmarks.SCENARIO`."""
