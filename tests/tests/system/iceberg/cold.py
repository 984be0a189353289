"""Adds snapshots to the metadata of the table `logs.web`, as if it had that many commits.

    python cold.py CATALOG|DIRECTORY SNAPSHOTS

Prints the number of snapshots and the size of the metadata.
"""

import json
import pathlib
import sys

from pyiceberg.catalog.rest import RestCatalog

place, number = sys.argv[1], int(sys.argv[2])
if place.startswith("http"):
    catalog = RestCatalog("rest", uri=place)
    path = pathlib.Path(catalog.load_table("logs.web").metadata_location.removeprefix("file:"))
else:
    metadata = pathlib.Path(place, "metadata")
    path = metadata / f"v{(metadata / 'version-hint.text').read_text()}.metadata.json"
table = json.loads(path.read_text())
first, log = table["snapshots"][0], table["snapshot-log"][0]
added = number - len(table["snapshots"])
table["snapshots"] = [{**first, "snapshot-id": id + 1} for id in range(added)] + table["snapshots"]
table["snapshot-log"] = [{**log, "snapshot-id": id + 1} for id in range(added)] + table["snapshot-log"]
if place.startswith("http"):
    path = path.with_name(f"00099-{number}.metadata.json")
    path.write_text(json.dumps(table))
    catalog.drop_table("logs.web")
    catalog.register_table("logs.web", f"file://{path}")
    found = len(catalog.load_table("logs.web").snapshots())
else:
    path.write_text(json.dumps(table))
    found = len(json.loads(path.read_text())["snapshots"])
assert found == number, found
print(path.stat().st_size)
