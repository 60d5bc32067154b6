"""JSON, CSV, SQLite, INI and base64: data in and out."""

import base64
import configparser
import csv
import io
import json
import sqlite3
import struct
import sys

ROWS = [{"name": "Ada", "born": 1815}, {"name": 'the "other"', "born": 1900}]

print(json.dumps({"rows": ROWS, "set": {3}}, default=list, indent=1, ensure_ascii=False))
try:
    json.loads('{"a": [1, 2,, 3]}')
except json.JSONDecodeError as error:
    print(error)
writer = csv.DictWriter(sys.stdout, ["name", "born"], lineterminator="\n")
writer.writeheader()
writer.writerows(ROWS)
print(list(csv.reader(io.StringIO('a;"b;c"\n'), delimiter=";")))
with sqlite3.connect(":memory:") as database:
    database.row_factory = sqlite3.Row
    database.execute("create table people (name text primary key, born integer)")
    database.executemany("insert into people values (:name, :born)", ROWS)
    database.create_function("century", 1, lambda year: year // 100 + 1)
    for row in database.execute("select name, century(born) as c from people order by born desc"):
        print(row["name"], row["c"])
    try:
        database.execute("insert into people values ('Ada', 1)")
    except sqlite3.IntegrityError as error:
        print(error)
database.close()
settings = configparser.ConfigParser()
settings.read_string("[a]\nx = 1\ny = %(x)s2\n")
print(settings["a"].getint("y"), base64.b64encode(b"data").decode(), struct.pack(">HI", 1, 2))
