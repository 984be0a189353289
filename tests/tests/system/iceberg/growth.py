"""Prints the size of a table's metadata, and counts its rows.

    python growth.py CATALOG TABLE
    python growth.py DIRECTORY
"""

import sys
from collections import Counter
from datetime import datetime

from pyiceberg.catalog.rest import RestCatalog
from pyiceberg.table import StaticTable

if sys.argv[1].startswith("http"):
    table = RestCatalog("rest", uri=sys.argv[1]).load_table(sys.argv[2])
else:
    table = StaticTable.from_metadata(sys.argv[1])
snapshot = table.current_snapshot()
size = lambda url: len(table.io.new_input(url))
manifests = snapshot.manifests(table.io)
entries = [entry for manifest in manifests for entry in manifest.fetch_manifest_entry(table.io)]
# Each file keeps the snapshot that has added it, and its sequence number.
sequences = {entry.snapshot_id: entry.sequence_number for entry in entries}
assert all(sequences[entry.snapshot_id] == entry.sequence_number for entry in entries)
history = {known.snapshot_id: known.sequence_number for known in table.snapshots()}
assert all(history[id] == sequence for id, sequence in sequences.items())
rows = Counter(table.scan().to_arrow()["line"].to_pylist())
print("manifests", len(manifests))
print("metadata", size(table.metadata_location))
print("list", size(snapshot.manifest_list))
print("snapshots", len(history))
print("files", len(entries))
print("rows", sum(rows.values()))
print("lines", len(rows))
if sys.argv[1].startswith("http"):
    # Readers see the same rows after an expiry of the earlier snapshots.
    table.maintenance.expire_snapshots().older_than(datetime.now()).commit()
    table = RestCatalog("rest", uri=sys.argv[1]).load_table(sys.argv[2])
    print("kept", len(table.snapshots()))
    assert table.scan().to_arrow().num_rows == sum(rows.values())
