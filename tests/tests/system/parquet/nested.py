"""Prints the schema and the rows of all Parquet files below a directory.

    python nested.py DIRECTORY
"""

import json
import pathlib
import sys

import pyarrow as pa
import pyarrow.parquet as pq


def plain(value):
    """Returns a value that JSON has. A map is a list of pairs in pyarrow."""
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    return value if isinstance(value, (int, float, str, type(None))) else str(value)


for path in sorted(pathlib.Path(sys.argv[1]).rglob("*.parquet")):
    if any(part.startswith(("_", ".")) for part in path.relative_to(sys.argv[1]).parts):
        continue
    file = pq.ParquetFile(path)
    print("schema", "".join(str(file.schema).split()[6:]))
    for row in file.read().to_pylist(maps_as_pydicts="strict"):
        if "at" in row:
            at = pa.scalar(row["at"], pa.timestamp("us", "UTC"))
            row["at"] = at.cast(pa.int64()).as_py()
        print("row", json.dumps(plain(row)))
