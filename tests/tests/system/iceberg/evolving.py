"""Reads a table whose schema the sink has changed, and checks old and new rows.

    python evolving.py CATALOG TABLE
    python evolving.py DIRECTORY
"""

import sys

from pyiceberg.catalog.rest import RestCatalog
from pyiceberg.table import StaticTable
from pyiceberg.types import DoubleType, LongType

if sys.argv[1].startswith("http"):
    table = RestCatalog("rest", uri=sys.argv[1]).load_table(sys.argv[2])
else:
    table = StaticTable.from_metadata(sys.argv[1])
schema = table.schema()
assert isinstance(schema.find_type("n"), LongType), schema
assert isinstance(schema.find_type("ratio"), DoubleType), schema
assert [field.field_id for field in schema.fields] == [1, 2, 3], schema
assert not any(field.required for field in schema.fields), schema
assert len(table.schemas()) == 2, table.schemas()
rows = sorted(table.scan().to_arrow().to_pylist(), key=lambda row: row["n"])
LINES = 100
assert len(rows) == 2 * LINES, len(rows)
for at, row in enumerate(rows[:LINES]):
    assert row == {"n": at, "host": f"host-{at}", "ratio": None}, row
for at, row in enumerate(rows[LINES:]):
    assert row == {"n": (1 << 40) + at, "host": None, "ratio": at / 4}, row
# A filter finds rows of both kinds of files.
for filtered, count in [(f"n == {1 << 40}", 1), ("n == 7", 1), ("ratio is null", LINES),
                        ("host is null", LINES), ("ratio > 20", 19), ("n < 50", 50)]:
    found = table.scan(row_filter=filtered).to_arrow().num_rows
    assert found == count, (filtered, found)
print(f"{len(rows)} rows are right")
