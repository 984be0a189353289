"""Changes a table in a Hive metastore with Spark, and counts its rows, until a file exists.

    python metastore.py METASTORE STOP

Each round sets a property of the table `logs.web`. After some rounds commits do without locks.
Finally it prints the number of rows, the properties, and the URL of the newest metadata.
"""

import pathlib
import sys
import time

from pyspark.sql import SparkSession

uri, stop = sys.argv[1], pathlib.Path(sys.argv[2])
# Rounds with locks.
LOCKED = 4
builder = SparkSession.builder
for name, value in {
    "spark.sql.catalog.catalog": "org.apache.iceberg.spark.SparkCatalog",
    "spark.sql.catalog.catalog.type": "hive",
    "spark.sql.catalog.catalog.uri": uri,
    # Each query loads the table.
    "spark.sql.catalog.catalog.cache-enabled": "false",
    "spark.sql.extensions": "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions",
}.items():
    builder = builder.config(name, value)
spark = builder.getOrCreate()
table = "catalog.logs.web"


def set_property(name, value):
    while True:
        try:
            spark.sql(f"ALTER TABLE {table} SET TBLPROPERTIES ('{name}' = '{value}')")
            return
        except Exception as error:
            # The table does not exist yet, or other writers are faster.
            print("error", str(error).splitlines()[0], file=sys.stderr, flush=True)
            time.sleep(0.5)


def count():
    row = spark.sql(f"SELECT count(*) AS n, count(DISTINCT line) AS d FROM {table}").first()
    assert row.n == row.d, f"{row.n} rows have {row.d} lines"
    return row.n


rounds, before = 0, 0
last = False
while not last:
    # One more round after the end.
    last = stop.exists()
    rounds += 1
    set_property("changes", rounds)
    if rounds == LOCKED:
        set_property("engine.hive.lock-enabled", "false")
    rows = count()
    assert rows >= before, f"{before} rows became {rows}"
    before = rows
    print("rounds", rounds, rows, flush=True)
spark.sql(f"CALL catalog.system.rewrite_data_files(table => 'logs.web')")
print("rows", count())
for name, value in spark.sql(f"SHOW TBLPROPERTIES {table}").collect():
    print("property", f"{name}={value}")
log = spark.sql(f"SELECT file FROM {table}.metadata_log_entries ORDER BY timestamp DESC").first()
print("metadata", log.file)
