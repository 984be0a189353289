"""Prints the rows of a table as PyIceberg reads them.

    python read.py CATALOG TABLE
"""

import sys

import pyarrow.compute as pc
from pyiceberg.catalog.rest import RestCatalog

catalog = RestCatalog("rest", uri=sys.argv[1])
table = catalog.load_table(sys.argv[2])
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
