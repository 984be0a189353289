"""Maintains a table with Spark, by the commands of its documentation, until a file exists.

    python maintained.py CATALOG SCRIPT STOP

CATALOG is the URL of a REST catalog, and SCRIPT has SQL statements for the table `logs.web`. They run
repeatedly. Prints the number of rounds after each one, and finally the numbers of failed statements, of replaced files, and of rows.
"""

import pathlib
import sys
import time

from pyspark.sql import SparkSession

uri, script, stop = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
builder = SparkSession.builder
for name, value in {
    "spark.sql.catalog.catalog": "org.apache.iceberg.spark.SparkCatalog",
    "spark.sql.catalog.catalog.type": "rest",
    "spark.sql.catalog.catalog.uri": uri,
    # Each query loads the table.
    "spark.sql.catalog.catalog.cache-enabled": "false",
    "spark.sql.extensions": "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions",
}.items():
    builder = builder.config(name, value)
spark = builder.getOrCreate()
statements = [it.strip() for it in script.read_text().split(";") if it.strip()]


def count():
    row = spark.sql("SELECT count(*) AS n, count(DISTINCT line) AS d FROM catalog.logs.web").first()
    assert row.n == row.d, f"{row.n} rows have {row.d} lines"
    return row.n


rounds, failed, replaced, before = 0, 0, 0, 0
last = False
while not last:
    # One more round after the end.
    last = stop.exists()
    for statement in statements:
        try:
            result = spark.sql(statement).first().asDict()
        except Exception as error:
            # The table does not exist yet, or the catalog is down.
            failed += 1
            print("error", str(error).splitlines()[0], file=sys.stderr, flush=True)
            time.sleep(0.5)
            continue
        replaced += result.get("rewritten_data_files_count", 0)
        rows = count()
        assert rows >= before, f"{before} rows became {rows} by {statement}"
        before = rows
    rounds += 1
    print("rounds", rounds, flush=True)
print("failed", failed)
print("replaced", replaced)
print("rows", count())
