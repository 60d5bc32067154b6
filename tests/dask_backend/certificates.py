"""Files for an encrypted cluster of a test."""

from __future__ import annotations

import subprocess
from pathlib import Path

__all__ = ["certified"]


def certified(folder: Path) -> dict[str, str]:
    """One certificate, which signs itself, for all of a cluster: as the keys of Dask's
    configuration below `distributed.comm.tls`, with the paths of the files."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    made = "-x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=cluster"
    subprocess.run(
        ["openssl", "req", *made.split(), "-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
    )
    found = {"ca-file": str(certificate)}
    for role in ("scheduler", "worker", "client"):
        found[f"{role}.cert"], found[f"{role}.key"] = str(certificate), str(key)
    return found
