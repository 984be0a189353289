"""Creates a table with partition transforms, and compares its metadata with its rows.

    python typed.py create|check CATALOG LOCATION
"""

import datetime
import sys

import pyarrow.parquet as pq
from pyiceberg.catalog.rest import RestCatalog
from pyiceberg.conversions import from_bytes
from pyiceberg.expressions import EqualTo, GreaterThan, IsNull, LessThanOrEqual, StartsWith
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import (
    BucketTransform, DayTransform, IdentityTransform, TruncateTransform, VoidTransform,
)
from pyiceberg.types import (
    BinaryType, BooleanType, DateType, DecimalType, DoubleType, FloatType, IntegerType, LongType,
    NestedField, StringType, TimestamptzType,
)

step, address, location = sys.argv[1:]
catalog = RestCatalog("rest", uri=address)
types = {
    "n": LongType(), "phase": IntegerType(), "at": TimestamptzType(), "host": StringType(),
    "name": StringType(), "price": DecimalType(9, 2), "ratio": DoubleType(), "part": FloatType(),
    # The files have int, float and shorter decimals.
    "small": LongType(), "ok": BooleanType(), "day": DateType(), "large": DecimalType(38, 1),
    "raw": BinaryType(),
}
if step == "create":
    required = {"n", "phase", "at", "host"}
    fields = [NestedField(field_id=at, name=name, field_type=kind, required=name in required)
              for at, (name, kind) in enumerate(types.items(), 1)]
    partitions = [(3, "day_of", DayTransform()), (4, "bucket_of", BucketTransform(8)),
                  (4, "begin", TruncateTransform(2)), (2, "phase", IdentityTransform()),
                  (1, "nothing", VoidTransform())]
    spec = PartitionSpec(*(PartitionField(source_id=source, field_id=1000 + at, transform=transform,
                                          name=name)
                           for at, (source, name, transform) in enumerate(partitions)))
    catalog.create_namespace("logs")
    catalog.create_table("logs.typed", Schema(*fields), location=location, partition_spec=spec)
    sys.exit()

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


def internal(value, kind):
    """Returns a value in the form that transforms and bounds use."""
    if value is None:
        return None
    if isinstance(kind, TimestamptzType):
        return (value - EPOCH) // datetime.timedelta(microseconds=1)
    if isinstance(kind, DateType):
        return (value - EPOCH.date()).days
    return value


table = catalog.load_table("logs.typed")
schema = table.schema()
files = [task.file for task in table.scan().plan_files()]
proved = 0
for file in files:
    rows = pq.read_table(file.file_path.removeprefix("file://"))
    columns = {field.field_id: [internal(value, field.field_type)
                                for value in rows[field.name].to_pylist()]
               for field in schema.fields}
    assert file.record_count == rows.num_rows, file
    spec = table.specs()[file.spec_id]
    proved += len(spec.fields) > 0
    for at, field in enumerate(spec.fields):
        kind = schema.find_type(field.source_id)
        values = {field.transform.transform(kind)(value) for value in columns[field.source_id]}
        assert values == {file.partition[at]}, (file.file_path, field, values, file.partition)
    for field in schema.fields:
        number, values = field.field_id, columns[field.field_id]
        known = [value for value in values if value is not None]
        assert file.value_counts[number] == len(values), field
        assert file.null_value_counts[number] == len(values) - len(known), field
        assert file.column_sizes[number] > 0, field
        if isinstance(field.field_type, (DoubleType, FloatType)):
            assert file.nan_value_counts[number] == 0, field
        lower = from_bytes(field.field_type, file.lower_bounds[number])
        upper = from_bytes(field.field_type, file.upper_bounds[number])
        lower, upper = (internal(it, field.field_type) if hasattr(it, "year") else it
                        for it in (lower, upper))
        assert lower <= min(known) and max(known) <= upper, (field, lower, upper)
        if isinstance(field.field_type, (StringType, BinaryType)):
            assert len(lower) <= 16 and len(upper) <= 16, field
assert 0 < proved < len(files), f"{proved} of {len(files)} files"

everything = table.scan().to_arrow().to_pylist()
skipped = 0
for filtered, matches in [
    *((EqualTo("n", n), lambda row, n=n: row["n"] == n) for n in (0, 399, 400, 1601, 3199)),
    (GreaterThan("ratio", 800.0), lambda row: (row["ratio"] or 0) > 800),
    (LessThanOrEqual("part", -200.0), lambda row: (row["part"] or 0) <= -200),
    (GreaterThan("price", "2500.10"), lambda row: (row["price"] or 0) > 2500.1),
    (EqualTo("host", "mail"), lambda row: row["host"] == "mail"),
    (EqualTo("phase", 2), lambda row: row["phase"] == 2),
    (GreaterThan("at", "2026-12-01T00:00:00+00:00"),
     lambda row: row["at"] > datetime.datetime(2026, 12, 1, tzinfo=datetime.timezone.utc)),
    (StartsWith("name", "name-of-a-row-that-is-longer-than-a-bound-00000003"),
     lambda row: (row["name"] or "").startswith("name-of-a-row-that-is-longer-than-a-bound-00000003")),
    (EqualTo("name", everything[-1]["name"] or "x"),
     lambda row: row["name"] == (everything[-1]["name"] or "x")),
    (IsNull("small"), lambda row: row["small"] is None),
    (EqualTo("day", "2026-11-30"), lambda row: row["day"] == datetime.date(2026, 11, 30)),
]:
    scan = table.scan(row_filter=filtered)
    found = sorted(row["n"] for row in scan.to_arrow().to_pylist())
    assert found == sorted(row["n"] for row in everything if matches(row)), filtered
    read = len(list(scan.plan_files()))
    skipped += len(files) - read
    print(f"{read} of {len(files)} files for {filtered}")
assert skipped > 0
numbers = sorted(row["n"] for row in everything)
assert numbers == list(range(len(numbers)))
print(f"{proved} of {len(files)} files have a partition")
print(f"{len(numbers)} rows are right")
