"""Two apps on one DuckDB file, as the page of troubleshooting says: each app is a process, and
DuckDB lets one process write, or several read."""

from __future__ import annotations

from pathlib import Path

from kernel.conftest import OpenApp, of

from mpkernel.kernel.messages import Failure

WRITES = """\
import duckdb
connection = duckdb.connect({file!r})
connection.execute("create table if not exists sales as select 42 as euros")
print("connected")
"""
READS = """\
import duckdb
connection = duckdb.connect({file!r}, read_only=True)
print(connection.sql("select euros from sales").fetchall())
"""


async def test_one_app_writes_to_a_duckdb_file_or_several_read_it(
    open_app: OpenApp, tmp_path: Path
) -> None:
    file = str(tmp_path / "data.duckdb")
    first, second = await open_app(name="first.py"), await open_app(name="second.py")
    assert await first.text(WRITES.format(file=file)) == "connected\n"
    beside_first = await open_app(name="first.py")
    assert await beside_first.text(WRITES.format(file=file)) == "connected\n"
    await beside_first.text("connection.close()")
    (failure,) = of(await second.run(READS.format(file=file)), Failure)
    assert "Could not set lock on file" in failure.message
    await first.text("connection.close()")
    assert await first.text(READS.format(file=file)) == "[(42,)]\n"
    assert await second.text(READS.format(file=file)) == "[(42,)]\n"
