"""Prints the rows of a table as PyIceberg reads them.

    python read.py CATALOG TABLE
    python read.py DIRECTORY [PROPERTY=VALUE ...]
"""

import sys

import pyarrow.compute as pc
from pyiceberg.catalog.rest import RestCatalog
from pyiceberg.table import StaticTable

if sys.argv[1].startswith("http"):
    table = RestCatalog("rest", uri=sys.argv[1]).load_table(sys.argv[2])
else:
    properties = dict(argument.split("=", 1) for argument in sys.argv[2:])
    table = StaticTable.from_metadata(sys.argv[1], properties)
rows = table.scan().to_arrow()
for line in rows["line"].to_pylist():
    print("row", line)
# A filter on the partition column reads the same rows.
for entry in pc.value_counts(rows["at"]).to_pylist():
    at, count = entry["values"], entry["counts"]
    found = table.scan(row_filter=f"at == '{at}'").to_arrow().num_rows
    print("partition", at, count, found)
print("total", table.current_snapshot().summary["total-records"])
print("snapshots", len(table.snapshots()))
